"""All that a page shows of one run when it is asked for, as plain data; no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvm_lab.reporting.words import COMPARED, compared, predictor
from lvm_lab.runs.judgement import Number
from lvm_lab.runs.reading import CONFIG, HISTORY
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.runs.result import JUDGED, Result
from lvm_lab.sweeps.leaderboard import Entry

CURVES = ("train/loss", "val/loss", "val/cos", "5cat/val/A/margin")
CHECK = ("threshold", "passed", "undecided")
FILES = ("MODEL_CARD.md", RESULT, CONFIG, HISTORY, "train.log")
# Enough for every figure, and half of a page's size.
DIGITS = 5


def details(entry: Entry, out: Path) -> dict[str, Any]:
    """Everything about a run that a page in `out` shows, ready for JSON but for numbers that are none.

    gates: a list of (letter, name, state, reason, numbers: name -> part -> value, interval, threshold ...),
        of those that have a threshold.
    offsets: by part and for copy-last, [k, value, low, high] each. curves: by name, one value an epoch.
    links: [name, address relative to `out`] of the files that are there.
    """
    return {
        "error": entry.error,
        "settings": entry.settings,
        "curves": _curves(entry),
        "config": _text(entry.folder / CONFIG),
        "links": _links(entry.folder, out),
    } | _judgement(entry.result)


def rounded(node: Any) -> Any:
    """The same with numbers as short as a page needs them, and None for those that JSON does not have."""
    if isinstance(node, dict):
        return {str(key): rounded(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [rounded(value) for value in node]
    if isinstance(node, float):
        return float(f"{node:.{DIGITS}g}") if math.isfinite(node) else None
    return node


def _judgement(result: Result | None) -> dict[str, Any]:
    """What the result says; the same keys, without anything, where there is none."""
    verdict = result.verdict if result else None
    alarms = verdict.alarms if verdict else []
    return {
        "reason": verdict.reason if verdict else None,
        "verdict": verdict.verdict if verdict else None,
        "preset": verdict.preset if verdict else None,
        "checkpoint": result.checkpoint if result else None,
        "alarms": [f"{alarm.name} on {alarm.part.upper()}: check {alarm.check}" for alarm in alarms],
        "notes": result.notes if result else [],
        "data_gate": result.data_gate.get("failed", []) if result else [],
        "gates": _gates(result) if result else [],
        "offsets": {part: _offsets(result.numbers(part, "A") if result else {}) for part in JUDGED}
        | {"copy_last": _offsets(_offsets_of_copy_last(result) if result else {})},
        "baselines": {"heads": [head for head, _ in _heads(result)], "rows": _compared(result) if result else []},
        "skill": {part: _skill(result.shares(part) if result else {}) for part in JUDGED},
    }


def _gates(result: Result) -> list[dict[str, Any]]:
    gates = []
    for letter, gate in sorted(result.gates.items()):
        numbers: dict[str, dict[str, Any]] = {}
        for part in JUDGED:
            for name, number in result.numbers(part, letter).items():
                if number.threshold is not None:
                    numbers.setdefault(name, {})[part] = _shown(number, *CHECK)
        if gate.difference:
            check = CHECK if gate.difference.threshold is not None else ()
            numbers["VAL - OOD"] = {part: _shown(gate.difference, *check) for part in JUDGED}
        gates.append(
            {"letter": letter, "name": gate.name, "state": gate.state, "reason": gate.reason, "numbers": numbers}
        )
    return gates


def _shown(number: Number, *more: str) -> dict[str, Any]:
    """What a page shows of a number."""
    fields = asdict(number)
    return {key: fields[key] for key in ("value", "interval", *more)}


def _offsets(numbers: Mapping[str, Number]) -> list[list[float | None]]:
    """[k, value, low, high] of gate A's numbers, by k."""
    points = []
    for name, number in numbers.items():
        if name.startswith("k") and number.value is not None:
            points.append([int(name[1:]), number.value, *(number.interval or (None, None))])
    return sorted(points)


def _offsets_of_copy_last(result: Result) -> dict[str, Number]:
    summary = result.baseline_summaries.get("copy_last")
    values = summary.val if summary else {}
    return {key.removeprefix("A/"): Number(value) for key, value in values.items() if key.startswith("A/k")}


def _heads(result: Result | None) -> tuple[tuple[str, str], ...]:
    return compared(summary.val for _, summary in result.summaries) if result else COMPARED


def _compared(result: Result) -> list[dict[str, Any]]:
    """The model and each baseline: gates passed, values and lifts; nothing where there are no baselines."""
    return [
        {
            "name": predictor(name),
            "passed": summary.passed,
            "of": summary.of,
            "values": [summary.val.get(key) for _, key in _heads(result)],
            "lifts": [
                _shown(lift, "p", "p_holm") if (lift := summary.model_lift_val.get(key)) else None
                for _, key in _heads(result)
            ],
        }
        for name, summary in (result.summaries if result.baselines else [])
    ]


def _skill(shares: Mapping[str, Number]) -> dict[str, Any]:
    return {key: _shown(share, "over", "baseline") for key, share in shares.items()}


def _curves(entry: Entry) -> dict[str, list[Any]]:
    history = [row for row in entry.run.history if isinstance(row.get("epoch"), int)]
    values = {name: [row.get(name) for row in history] for name in CURVES}
    curves = {name: points for name, points in values.items() if any(point is not None for point in points)}
    return {"epoch": [row["epoch"] for row in history]} | curves


def _text(file: Path) -> str:
    try:
        # Reading a pipe would wait for somebody to write into it.
        return file.read_text(errors="replace") if file.is_file() else ""
    except OSError:
        return ""


def _links(folder: Path, out: Path) -> list[list[str]]:
    files = [*sorted(folder.glob("plots/*.png")), *(folder / name for name in FILES)]
    start = out.resolve()
    return [
        [file.name, quote(os.path.relpath(file.resolve(), start), errors="surrogateescape")]
        for file in files
        if file.is_file()
    ]
