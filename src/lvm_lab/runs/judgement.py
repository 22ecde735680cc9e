"""What a judgement says when it is read back from JSON: numbers, halves of gates, parts, the verdict; no torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from lvm_lab.config import binding

# How many gates there are, and how many halves of them one part can pass alone, where nothing says so: E needs both.
GATES, HALVES = 5, 4


class Misfit(ValueError):
    """A value that is not what its key asks for. Its text says so, and begins with the key."""


@dataclass(frozen=True)
class Number:
    """A number with its 95% interval over documents, if it has one.

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
    of: int = HALVES
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
class Part:
    """A part's plain numbers. spreads: by name, what several dimensions or targets have beside the predictions."""

    windows: int = 0
    documents: int = 0
    not_finite: int = 0
    alarms: list[Finding] = field(default_factory=list)
    five_cat: Scores | None = None
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
        part: Part = typed(cls, plain | {"numbers": numbers, "spreads": spreads}, key)
        return part


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
    of: int = GATES
    reason: str | None = None
    alarms: list[Alarm] = field(default_factory=list)
    gates: dict[str, Gate] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """A predictor in a line of a table. val, ood: point estimates by `<gate>/<name>`; model_lift_val: the model less it."""

    passed: int
    of: int = GATES
    val: dict[str, float] = field(default_factory=dict)
    ood: dict[str, float] = field(default_factory=dict)
    model_lift_val: dict[str, Number] = field(default_factory=dict)


def typed(kind: Any, value: Any, key: str) -> Any:
    """A plain JSON value as what `kind` says: a dataclass, a dict or a list of them, or itself.

    Keys that a dataclass does not have are left out. Raises Misfit.
    """
    if typing.get_origin(kind) is types.UnionType:
        nested = [one for one in typing.get_args(kind) if dataclasses.is_dataclass(one)]
        if nested and value is not None:
            return typed(nested[0], value, key)
    if dataclasses.is_dataclass(kind):
        return _instance(kind, value, key)
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        inner = typing.get_args(kind)[1]
        return value if inner is Any else {name: typed(inner, item, f"{key}.{name}") for name, item in value.items()}
    if typing.get_origin(kind) is list and isinstance(value, list):
        inner = typing.get_args(kind)[0]
        return [typed(inner, item, f"{key}[{place}]") for place, item in enumerate(value)]
    if not binding.fits(value, kind):
        raise Misfit(f"{key} is {_short(value)}, not {binding.describe(kind)}")
    return value


def _instance(kind: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise Misfit(f"{key} is {_short(value)}, not a mapping")
    inside = f"{key}." if key else ""
    values = {}
    for name, hint, needed in _fields(kind):
        if name in value:
            values[name] = typed(hint, value[name], f"{inside}{name}")
        elif needed:
            raise Misfit(f"{inside}{name} is missing")
    return kind(**values)


@functools.cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    """(name, type, whether it has to be there) of a dataclass."""
    hints = typing.get_type_hints(kind)
    absent = dataclasses.MISSING
    return [
        (f.name, hints[f.name], f.default is absent and f.default_factory is absent) for f in dataclasses.fields(kind)
    ]


def _is_group(node: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in node.values())


def _short(value: Any) -> str:
    """A value in a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
