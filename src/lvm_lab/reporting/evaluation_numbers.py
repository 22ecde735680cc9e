"""What a report of an evaluation looks up in evaluation.json; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lvm_lab.reporting.words import OF_BOTH

Json = dict[str, Any]

# A part's keys that are groups of numbers, among its plain ones.
GROUPED = ("five_cat", "following", "unseen", "contrastive", "store")


def groups(part: Json) -> dict[str, Json]:
    """A part's numbers by group: `metrics` (the plain ones), unseen, following, contrastive, store, and each gate's by
    its letter."""
    plain = {name: number for name, number in part.items() if name not in GROUPED}
    by_group = {"metrics": plain} | {name: part.get(name, {}) for name in ("unseen", "contrastive", "store")}
    by_group["following"] = (part.get("following") or {}).get("numbers", {})
    return by_group | {letter: half["numbers"] for letter, half in _halves(part).items()}


def numbers(part: Json) -> Iterator[tuple[str, str, Json]]:
    """(group, name, number) of everything with a value."""
    for group, by_name in groups(part).items():
        for name, number in by_name.items():
            if isinstance(number, dict) and "value" in number:
                yield group, name, number


def number(predictor: Json, part: str, group: str, name: str) -> Json:
    """One number with its interval; empty where there is none."""
    node: Json = groups(predictor["parts"][part]).get(group, {}).get(name, {})
    return node


def half_states(predictor: Json, part: str) -> dict[str, bool | None]:
    """Whether each of this part's halves passed, but for those of gates that need both parts."""
    halves = _halves(predictor["parts"][part])
    return {letter: half["state"] for letter, half in halves.items() if letter not in OF_BOTH}


def gates(predictor: Json, part: str) -> str:
    """How many gates passed, for an OOD store with VAL, else how many halves."""
    score = predictor["five_cat"].get("val", {}).get(part) or predictor["parts"][part]["five_cat"]
    return f"{score['passed']}/{score['of']}" if score else ""


def each_part(data: Json) -> list[tuple[Json, str]]:
    """Every predictor with each of its parts."""
    return [(predictor, part) for predictor in data["predictors"] for part in predictor["parts"]]


def _halves(part: Json) -> dict[str, Json]:
    halves: dict[str, Json] = part["five_cat"]["halves"] if part["five_cat"] else {}
    return halves
