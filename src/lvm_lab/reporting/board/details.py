"""All that a page shows of one run when it is asked for, as plain data; no torch."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvm_lab.reporting.board.columns import GATES, at
from lvm_lab.reporting.words import BASELINES as NAMES
from lvm_lab.reporting.words import COMPARED
from lvm_lab.sweeps.leaderboard import Row

PARTS = ("val", "ood")
CURVES = ("train/loss", "val/loss", "val/cos", "5cat/val/A/margin")
CHECK = ("threshold", "passed", "undecided")
FILES = ("MODEL_CARD.md", "result.json", "config.yaml", "history.jsonl", "train.log")
# Enough for every figure, and half of a page's size.
DIGITS = 5


def details(row: Row, out: Path) -> dict[str, Any]:
    """Everything about a run that a page in `out` shows, ready for JSON but for numbers that are none.

    gates: a list of (letter, name, state, reason, numbers: name -> part -> value, interval, threshold ...),
        of those that have a threshold.
    offsets: by part and for copy-last, [k, value, low, high] each. curves: by name, one value an epoch.
    links: [name, address relative to `out`] of the files that are there.
    """
    judged = row.result.get("five_cat") or {}
    return {
        "error": row.error,
        "reason": at(judged, "reason"),
        "verdict": at(judged, "verdict"),
        "preset": at(judged, "preset"),
        "checkpoint": at(row.result, "checkpoint"),
        "alarms": [f"{a['name']} on {a['part'].upper()}: check {a['check']}" for a in at(judged, "alarms") or []],
        "notes": at(row.result, "notes") or [],
        "data_gate": at(row.result, "data_gate", "failed") or [],
        "settings": row.settings,
        "gates": [_gate(letter, gate) for letter in GATES if (gate := at(judged, "gates", letter))],
        "offsets": {part: _offsets(at(judged, "gates", "A", part, "numbers")) for part in PARTS}
        | {"copy_last": _points(at(row.result, "baselines", "copy_last", "val"))},
        "baselines": _baselines(row),
        "skill": {part: _skill(at(row.result, "skill", part)) for part in PARTS},
        "curves": _curves(row),
        "config": _config(row.folder / "config.yaml"),
        "links": _links(row.folder, out),
    }


def rounded(found: Any) -> Any:
    """The same with numbers as short as a page needs them, and None for those that JSON does not have."""
    if isinstance(found, dict):
        return {str(key): rounded(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [rounded(value) for value in found]
    if isinstance(found, float):
        return float(f"{found:.{DIGITS}g}") if math.isfinite(found) else None
    return found


def _gate(letter: str, gate: dict[str, Any]) -> dict[str, Any]:
    numbers: dict[str, dict[str, Any]] = {}
    for part in PARTS:
        for name, number in (at(gate, part, "numbers") or {}).items():
            if "threshold" in number:
                numbers.setdefault(name, {})[part] = _kept(number, *CHECK)
    if difference := at(gate, "difference"):
        numbers["VAL - OOD"] = {part: _kept(difference, *CHECK) for part in PARTS}
    return {"letter": letter, "name": at(gate, "name"), "state": at(gate, "state"), "reason": at(gate, "reason")} | {
        "numbers": numbers
    }


def _kept(number: Any, *more: str) -> dict[str, Any] | None:
    """A number without what a page does not show of it."""
    return {key: number[key] for key in ("value", "interval", *more) if key in number} if number else None


def _offsets(numbers: dict[str, Any] | None) -> list[list[float | None]]:
    found = []
    for name, number in (numbers or {}).items():
        if name.startswith("k") and at(number, "value") is not None:
            found.append([int(name[1:]), number["value"], *(at(number, "interval") or (None, None))])
    return sorted(found)


def _points(values: dict[str, Any] | None) -> list[list[float | None]]:
    numbers = {key.removeprefix("A/"): {"value": v} for key, v in (values or {}).items() if key.startswith("A/k")}
    return _offsets(numbers)


def _baselines(row: Row) -> dict[str, Any]:
    """What a run is shown beside: heads, and for the model and each baseline gates passed, values and lifts."""
    found = row.result.get("baselines") or {}
    beside = {row.arch: at(row.result, "five_cat", "model")} | found if found else {}
    rows = [
        {
            "name": NAMES.get(name, name),
            "passed": at(said, "passed"),
            "values": [at(said, "val", key) for _, key in COMPARED],
            "lifts": [_kept(at(said, "model_lift_val", key), "p", "p_holm") for _, key in COMPARED],
        }
        for name, said in beside.items()
    ]
    return {"heads": [head for head, _ in COMPARED], "rows": rows}


def _skill(found: dict[str, Any] | None) -> dict[str, Any]:
    return {key: _kept(number, "over", "baseline") for key, number in (found or {}).items() if number}


def _curves(row: Row) -> dict[str, list[Any]]:
    history = [r for r in row.history() if isinstance(r.get("epoch"), int)]
    found = {name: [r.get(name) for r in history] for name in CURVES}
    told = {name: values for name, values in found.items() if any(v is not None for v in values)}
    return {"epoch": [r["epoch"] for r in history]} | told


def _config(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _links(folder: Path, out: Path) -> list[list[str]]:
    there = [*sorted(folder.glob("plots/*.png")), *(folder / name for name in FILES)]
    start = out.resolve()
    return [
        [file.name, quote(os.path.relpath(file.resolve(), start), errors="surrogateescape")]
        for file in there
        if file.is_file()
    ]
