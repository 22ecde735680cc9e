"""What a judgement holds: halves (one gate in one part), parts, gates over both parts and the whole; ready for JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lvm_lab.config.thresholds import DOCUMENTS_FOR_VERDICT
from lvm_lab.judge.bootstrap import Number, finite

State = bool | None  # None: not measurable, which is not passed
Verdict = Literal["pass", "fail", "undecided"]
Direction = Literal["at least", "at most"]

# Points of the R@k curve beside R@1 and R@5: for a figure, and too many for a history or a table.
CURVE = re.compile(r"B/(chance_)?r(?![15](_|$))\d+(_|$)")


@dataclass(frozen=True)
class Check:
    """One number against its threshold. undecided: its interval straddles it, or there is none."""

    threshold: float
    passed: bool
    undecided: bool

    @classmethod
    def of(cls, number: Number, threshold: float, direction: Direction) -> Check:
        """Whether the number is at least (or at most) the threshold, and whether its whole interval says the same."""
        sense = 1 if direction == "at least" else -1
        distances = [sense * (x - threshold) for x in (number.low, number.high)]
        clear = min(distances) >= 0 or max(distances) < 0
        return cls(threshold, sense * (number.value - threshold) >= 0, math.isnan(number.low) or not clear)

    @classmethod
    def within(cls, apart: Number, limit: float) -> Check:
        """Whether a difference is at most `limit` in either direction, and whether its whole interval says the same."""
        inside = abs(apart.low) <= limit and abs(apart.high) <= limit
        outside = min(apart.low, apart.high) > limit or max(apart.low, apart.high) < -limit
        return cls(limit, abs(apart.value) <= limit, not (inside or outside))


def state_of(checks: Mapping[str, Check], values: Mapping[str, float], clear: bool) -> tuple[bool, str | None]:
    """Whether all checks are passed, and if not, why. clear: whether every interval has to be clear too."""
    if all(check.passed and not (clear and check.undecided) for check in checks.values()):
        return True, None
    failed = {name: check for name, check in checks.items() if not check.passed}
    reason = "; ".join(f"{name} {values[name]:.3f} against {check.threshold:g}" for name, check in failed.items())
    return False, reason or "an interval straddles its threshold"


def verdict_of(
    states: Sequence[State], required: int, documents: Mapping[str, int], not_finite: bool
) -> tuple[Verdict, str | None]:
    """The verdict on gates of these states, and why it is no pass.

    documents: how many were judged, by part. not_finite: whether a prediction was not.
    """
    passed, unknown = states.count(True), states.count(None)
    few = [f"{part} has {count} documents" for part, count in documents.items() if count < DOCUMENTS_FOR_VERDICT]
    if not_finite:
        return "fail", "predictions are not finite"
    if few:
        return "undecided", f"{' and '.join(few)}; {DOCUMENTS_FOR_VERDICT} are needed"
    if passed >= required:
        return "pass", None
    if passed + unknown >= required:
        return "undecided", f"{unknown} of {len(states)} gates could not be measured"
    return "fail", f"{passed} of {len(states)} gates passed and {required} are needed"


@dataclass(frozen=True)
class Half:
    """One gate in one part. share: how many of the part's windows it could be measured on."""

    state: State
    reason: str | None = None
    numbers: dict[str, Number] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    windows: int = 0
    documents: int = 0
    share: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        numbers = {name: number.to_dict() for name, number in self.numbers.items()}
        for name, check in self.checks.items():
            numbers[name] |= vars(check)
        return {
            "state": self.state,
            "reason": self.reason,
            "windows": self.windows,
            "documents": self.documents,
            "share": round(self.share, 6),
            "numbers": numbers,
        }


@dataclass(frozen=True)
class Alarm:
    """Something that looks wrong with the data or the training, and what to look at next."""

    name: Literal["backward bias", "copying"]
    part: str
    best_k: int
    check: str

    def __str__(self) -> str:
        return f"{self.name} on {self.part} (best offset {self.best_k:+d}): check {self.check}"


@dataclass(frozen=True)
class PartScores:
    """One part's halves. That of a gate which needs both parts (E) holds its numbers, and is false or null.

    alone: letters of the gates that one part can pass alone. not_finite: windows with a prediction that is not.
    best_k: the offset that predictions are nearest to, None where gate A cannot be measured.
    """

    part: str
    halves: dict[str, Half]
    alone: tuple[str, ...]
    windows: int
    documents: int
    not_finite: int
    best_k: int | None
    alarms: list[Alarm]
    target_row_W: np.ndarray = field(repr=False, compare=False)

    @property
    def passed(self) -> int:
        """Halves passed, `of` so many that one part can pass alone."""
        return sum(self.halves[letter].state is True for letter in self.alone)

    @property
    def of(self) -> int:
        return len(self.alone)

    @property
    def margin(self) -> float:
        """Gate A's margin; minus infinity where it could not be measured, so that it never wins."""
        number = self.halves["A"].numbers.get("margin") if "A" in self.halves else None
        return -math.inf if number is None or math.isnan(number.value) else number.value

    @property
    def rank(self) -> tuple[int, float]:
        """The higher, the better: what chooses best_5cat.ckpt."""
        return self.passed, self.margin

    def numbers(self) -> dict[str, Number]:
        """Every number by `<gate>/<name>`."""
        return {f"{gate}/{name}": n for gate, half in self.halves.items() for name, n in half.numbers.items()}

    def values(self, curve: bool = False) -> dict[str, float]:
        """The point estimates that exist, by `<gate>/<name>`: for history and tables. curve: every R@k too."""
        shown = {name: n for name, n in self.numbers().items() if curve or not CURVE.match(name)}
        return {name: n.value for name, n in shown.items() if math.isfinite(n.value)}

    def to_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "windows": self.windows,
            "documents": self.documents,
            "not_finite": self.not_finite,
            "best_k": self.best_k,
            "passed": self.passed,
            "of": self.of,
            "margin": finite(self.margin),
            "alarms": [vars(alarm) for alarm in self.alarms],
            "halves": {gate: half.to_dict() for gate, half in self.halves.items()},
        }


@dataclass(frozen=True)
class GateResult:
    """One gate over both parts. numbers, checks: what it measures of both together (gate E: the difference)."""

    letter: str
    name: str
    state: State
    reason: str | None
    val: Half
    ood: Half | None
    numbers: dict[str, Number] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        described: dict[str, Any] = {"name": self.name, "state": self.state, "reason": self.reason}
        for name, number in self.numbers.items():
            described[name] = number.to_dict() | (vars(self.checks[name]) if name in self.checks else {})
        return described


@dataclass(frozen=True)
class FiveCat:
    """The judgement of one predictor. reason: why the verdict is undecided, or what it failed on."""

    preset: str
    required: int
    verdict: Verdict
    reason: str | None
    gates: dict[str, GateResult]
    val: PartScores
    ood: PartScores | None

    @property
    def passed(self) -> int:
        """Gates passed, `of` so many."""
        return sum(gate.state is True for gate in self.gates.values())

    @property
    def of(self) -> int:
        return len(self.gates)

    @property
    def alarms(self) -> list[Alarm]:
        return [*self.val.alarms, *(self.ood.alarms if self.ood else [])]

    def to_dict(self) -> dict[str, Any]:
        """The verdict, ready for JSON. The halves that it was reached by stand with their parts."""
        return {
            "preset": self.preset,
            "required": self.required,
            "of": self.of,
            "passed": self.passed,
            "verdict": self.verdict,
            "reason": self.reason,
            "alarms": [vars(alarm) for alarm in self.alarms],
            "gates": {letter: gate.to_dict() for letter, gate in self.gates.items()},
        }
