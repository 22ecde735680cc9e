"""What a judgement says: halves (one gate in one part), parts, gates and the whole, all ready for JSON."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lvm_lab.judge.bootstrap import Number, finite

State = bool | None  # None: not measurable, which is not passed
Verdict = Literal["pass", "fail", "undecided"]

GATES = {
    "A": "offset sweep",
    "B": "retrieval rank",
    "C": "order ablations",
    "D": "rollout",
    "E": "coherence bins",
}
# Points of the R@k curve beside R@1 and R@5: for a figure, and too many for a history or a table.
CURVE = re.compile(r"B/(chance_)?r(?![15](_|$))\d+(_|$)")


@dataclass(frozen=True)
class Check:
    """One number against its threshold. undecided: its interval straddles it, or there is none."""

    threshold: float
    passed: bool
    undecided: bool


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
    """One part's halves. Gate E needs two parts: its half holds the bins, and is false or null.

    broken: windows with a prediction that is not finite. best_k: the offset that predictions are
    nearest to, None where gate A cannot be measured.
    """

    part: str
    halves: dict[str, Half]
    windows: int
    documents: int
    broken: int
    best_k: int | None
    alarms: list[Alarm]
    target_row_W: np.ndarray = field(repr=False, compare=False)

    @property
    def passed(self) -> int:
        """Halves passed among A to D."""
        return sum(self.halves[gate].state is True for gate in "ABCD")

    @property
    def of(self) -> int:
        return len("ABCD")

    @property
    def margin(self) -> float:
        """Gate A's margin; minus infinity where it could not be measured, so that it never wins."""
        number = self.halves["A"].numbers.get("margin")
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
        wanted = {name: n for name, n in self.numbers().items() if curve or not CURVE.match(name)}
        return {name: n.value for name, n in wanted.items() if math.isfinite(n.value)}

    def to_dict(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "windows": self.windows,
            "documents": self.documents,
            "not_finite": self.broken,
            "best_k": self.best_k,
            "passed": self.passed,
            "margin": finite(self.margin),
            "alarms": [vars(alarm) for alarm in self.alarms],
            "halves": {gate: half.to_dict() for gate, half in self.halves.items()},
        }


@dataclass(frozen=True)
class Gate:
    """One gate over both parts. difference: gate E's number, VAL minus OOD, and its check."""

    letter: str
    state: State
    reason: str | None
    val: Half
    ood: Half | None
    difference: Number | None = None
    check: Check | None = None

    @property
    def name(self) -> str:
        return GATES[self.letter]

    def to_dict(self) -> dict[str, Any]:
        described: dict[str, Any] = {"name": self.name, "state": self.state, "reason": self.reason}
        if self.difference is not None:
            described["difference"] = self.difference.to_dict() | ({} if self.check is None else vars(self.check))
        return described | {"val": self.val.to_dict(), "ood": None if self.ood is None else self.ood.to_dict()}


@dataclass(frozen=True)
class FiveCat:
    """The judgement of one predictor. reason: why the verdict is undecided, or what it failed on."""

    preset: str
    required: int
    verdict: Verdict
    reason: str | None
    gates: dict[str, Gate]
    val: PartScores
    ood: PartScores | None

    @property
    def passed(self) -> int:
        return sum(gate.state is True for gate in self.gates.values())

    @property
    def alarms(self) -> list[Alarm]:
        return [*self.val.alarms, *(self.ood.alarms if self.ood else [])]

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for result.json; the halves stand once, inside the gates."""
        parts = {"val": self.val, "ood": self.ood}
        return {
            "preset": self.preset,
            "required": self.required,
            "passed": self.passed,
            "verdict": self.verdict,
            "reason": self.reason,
            "alarms": [vars(alarm) for alarm in self.alarms],
            "gates": {letter: gate.to_dict() for letter, gate in self.gates.items()},
            **{
                name: None if part is None else {k: v for k, v in part.to_dict().items() if k != "halves"}
                for name, part in parts.items()
            },
        }
