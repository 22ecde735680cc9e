"""In what two runs differ: their settings, and whether their VAL is the same; no torch."""

from __future__ import annotations

from typing import Any

from lvm_lab.runs.identity import computing, ground
from lvm_lab.runs.reading import Run

# Settings of data that decide which windows VAL has, beside its documents. How far back a run reads is none: two runs
# are compared on windows that both have.
WINDOWS = ("skip_repeated",)


def differences(a: Run, b: Run) -> dict[str, tuple[Any, Any]]:
    """By dotted key, both values of every setting that enters a fingerprint and differs; None where there is none.

    Data and what else is read from files stand by their digests, under `content`.
    """
    mine, theirs = (_flat(computing(run.config) | {"content": run.identity.content}) for run in (a, b))
    keys = dict.fromkeys([*mine, *theirs])
    return {key: (mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)}


def other_ground(a: Run, b: Run) -> str | None:
    """Why numbers of two runs on VAL do not compare; None where they do."""
    mine, theirs = (ground(run.config, run.identity.content) for run in (a, b))
    for key in dict.fromkeys([*mine, *theirs]):
        if mine.get(key) != theirs.get(key):
            what = f"fold {mine.get(key)} against {theirs.get(key)}" if key == "fold" else f"other content of {key}"
            return what
    for key in WINDOWS:
        values = [run.config.get("data", {}).get(key) for run in (a, b)]
        if values[0] != values[1]:
            return f"data.{key} {values[0]} against {values[1]}"
    return None


def _flat(node: Any, before: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {before: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flat(value, f"{before}.{key}" if before else str(key))
    return flat
