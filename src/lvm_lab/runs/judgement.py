"""What a judgement says when it is read back from JSON: numbers, halves of gates, parts, the verdict; no torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from lvm_lab.runs.typed import typed

# How many gates there are, and how many halves of them one part can pass alone, where nothing says so: E needs both.
OLD_GATES, OLD_HALVES = 5, 4


@dataclass(frozen=True)
class Number:
    """A number with its 95% interval over documents, if it has one.

    error, effective: what the interval was made of; None in results of before they were kept.
    threshold, passed, undecided: where a gate asks for it. over, baseline: a skill's best trivial baseline and its
    value. p, p_holm: a lift's p-value, and the same corrected for the number of baselines.
    """

    value: float | None
    interval: list[float | None] | None = None
    windows: int = 0
    documents: int = 0
    threshold: float | None = None
    passed: bool | None = None
    undecided: bool = False
    over: str | None = None
    baseline: float | None = None
    p: float | None = None
    p_holm: float | None = None
    error: float | None = None
    effective: float | None = None


@dataclass(frozen=True)
class Half:
    """One gate in one part. state: None where it could not be measured; share: of the part's windows, how many were."""

    state: bool | None
    reason: str | None = None
    windows: int = 0
    documents: int = 0
    share: float = 0.0
    numbers: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Alarm:
    """Something that looks wrong with the data or the training. best_k: the offset that predictions are nearest to."""

    name: str
    part: str
    best_k: int
    check: str


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong in the plain numbers of a part, and what to look at next."""

    name: str
    measured: str
    check: str


@dataclass(frozen=True)
class Scores:
    """5CAT in one part. passed: halves, of those that one part can pass alone; halves: by the gate's letter."""

    passed: int
    margin: float | None
    of: int = OLD_HALVES
    best_k: int | None = None
    windows: int = 0
    documents: int = 0
    not_finite: int = 0
    halves: dict[str, Half] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """The point estimates that exist, by `<gate>/<name>`."""
        return {
            f"{letter}/{name}": number.value
            for letter, half in self.halves.items()
            for name, number in half.numbers.items()
            if number.value is not None and math.isfinite(number.value)
        }


@dataclass(frozen=True)
class Following:
    """The rank of the target among itself and all later chunks of its document, on targets that no reader chooses.

    judge_from: the first row of a document that is a target; targets, documents: how many of how many. digest: equal
    where two were measured on equal targets. reason: why there is no number.
    """

    judge_from: int
    targets: int = 0
    documents: int = 0
    digest: str | None = None
    reason: str | None = None
    numbers: dict[str, Number] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """The point estimates that exist, by `following/<name>`."""
        return {f"following/{name}": n.value for name, n in self.numbers.items() if n.value is not None}


@dataclass(frozen=True)
class Part:
    """A part's plain numbers. spreads: by name, what several dimensions or targets have beside the predictions."""

    windows: int = 0
    documents: int = 0
    not_finite: int = 0
    alarms: list[Finding] = field(default_factory=list)
    five_cat: Scores | None = None
    following: Following | None = None
    numbers: dict[str, Number] = field(default_factory=dict)
    spreads: dict[str, dict[str, float | None]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, node: dict[str, Any], key: str) -> Part:
        """A part as it lies in result.json, where numbers and spreads stand among its own keys."""
        own = [f.name for f in dataclasses.fields(cls) if f.name not in ("numbers", "spreads")]
        nested = {name: value for name, value in node.items() if name not in own and isinstance(value, dict)}
        numbers = {name: value for name, value in nested.items() if "value" in value}
        # What evaluate alone measures has numbers of its own.
        spreads = {name: value for name, value in nested.items() if not _is_group(value) and name not in numbers}
        plain = {name: value for name, value in node.items() if name in own}
        part: Part = typed(cls, plain, key)
        return dataclasses.replace(
            part,
            numbers=typed(dict[str, Number], numbers, key),
            spreads=typed(dict[str, dict[str, float | None]], spreads, key),
        )


@dataclass(frozen=True)
class Gate:
    """One gate over all its parts. difference: gate E's number, VAL less OOD."""

    name: str
    state: bool | None
    reason: str | None = None
    difference: Number | None = None


@dataclass(frozen=True)
class Verdict:
    """5CAT as a whole. passed: gates, of `of`; required: how many the preset asks for."""

    required: int
    passed: int
    verdict: str
    preset: str = ""
    of: int = OLD_GATES
    reason: str | None = None
    alarms: list[Alarm] = field(default_factory=list)
    gates: dict[str, Gate] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """A predictor in a line of a table. val, ood: point estimates by `<gate>/<name>`.

    passed: gates, of `of`. model_lift_val: the model less a baseline.
    """

    passed: int
    of: int = OLD_GATES
    val: dict[str, float] = field(default_factory=dict)
    ood: dict[str, float] = field(default_factory=dict)
    model_lift_val: dict[str, Number] = field(default_factory=dict)


def _is_group(node: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in node.values())
