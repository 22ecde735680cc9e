"""What a judgement says when it is read back from JSON: numbers, halves of gates, parts, the verdict; no torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lvm_lab.config import binding

# How many gates there are, and how many halves of them one part can pass alone, where nothing says so: E needs both.
OLD_GATES, OLD_HALVES = 5, 4


class Misfit(ValueError):
    """A value that is not what its key asks for. Its text says so, and begins with the key."""


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


def typed(kind: Any, value: Any, key: str) -> Any:
    """A plain JSON value as what `kind` says: a dataclass, a dict or a list of them, or itself.

    Keys that a dataclass does not have are left out. Raises Misfit, which begins with the key.
    """
    try:
        return _reader(kind)(value)
    except Misfit as error:
        raise Misfit(f"{key}{error}".lstrip(".")) from None


Reader = Callable[[Any], Any]


@functools.cache
def _reader(kind: Any) -> Reader:
    """What turns a JSON value into `kind`; made once for each, since a board of runs has a million of values."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if kind is Any:
        return lambda value: value
    if origin is dict:
        return _dict_reader(_reader(typing.get_args(kind)[1]))
    if origin is list:
        return _list_reader(_reader(typing.get_args(kind)[0]))
    if origin is types.UnionType:
        (some,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        reader = _reader(some)
        return lambda value: None if value is None else reader(value)

    # What most values are is told without a further look.
    exact = kind if kind in (bool, float, str) else None

    def plain(value: Any) -> Any:
        # NaN and the infinities are floats too.
        if (type(value) is exact and (kind is not float or math.isfinite(value))) or binding.fits(value, kind):
            return value
        raise Misfit(f" is {_short(value)}, not {binding.describe(kind)}")

    return plain


def _dataclass_reader(kind: Any) -> Reader:
    hints, absent = typing.get_type_hints(kind), dataclasses.MISSING
    fields = dataclasses.fields(kind)
    needed = [f.name for f in fields if f.default is absent and f.default_factory is absent]
    readers = {f.name: _reader(hints[f.name]) for f in fields}

    def read(node: Any) -> Any:
        _check_mapping(node)
        for name in needed:
            if name not in node:
                raise Misfit(f".{name} is missing")
        return kind(**_each({name: readers[name] for name in node if name in readers}, node))

    return read


def _dict_reader(reader: Reader) -> Reader:
    def read(node: Any) -> Any:
        _check_mapping(node)
        return _each(dict.fromkeys(node, reader), node)

    return read


def _list_reader(reader: Reader) -> Reader:
    def read(items: Any) -> Any:
        if not isinstance(items, list):
            raise Misfit(f" is {_short(items)}, not a list")
        return [reader(item) for item in items]

    return read


def _each(readers: dict[str, Reader], node: dict[str, Any]) -> dict[str, Any]:
    """The node's values by name, each as its reader makes it; a misfit inside begins with its name."""
    values = {}
    for name, reader in readers.items():
        try:
            values[name] = reader(node[name])
        except Misfit as error:
            raise Misfit(f".{name}{error}") from None
    return values


def _check_mapping(node: Any) -> None:
    if not isinstance(node, dict):
        raise Misfit(f" is {_short(node)}, not a mapping")


def _is_group(node: dict[str, Any]) -> bool:
    return any(isinstance(value, dict) for value in node.values())


def _short(value: Any) -> str:
    """A value in a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
