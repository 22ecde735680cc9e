"""A scale of a schedule: what it sets in every row and in some of them, and which numbers it multiplies; no Hydra."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lvm_lab.config import binding, conf
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class SomeRows:
    """rows: globs of ids; set: overrides of those rows, which stand after their own."""

    rows: list[str]
    set: list[str]

    def have(self, row_id: str) -> bool:
        return any(fnmatch.fnmatchcase(row_id, glob) for glob in self.rows)


@dataclass(frozen=True)
class Scale:
    """set: overrides of every row, before its own; exceptions: of some rows, after their own, a later one over an
    earlier; times: factors of numbers, where a row's model has them.

    work: whether a dry run opens the data and builds each row's model, to say how much work it is.
    """

    set: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    exceptions: list[SomeRows] = field(default_factory=list)
    work: bool = False

    def written_out(self, row_id: str, common: Iterable[str], own: Iterable[str]) -> list[str]:
        """All of a row's overrides but for what is multiplied."""
        after = [one for some in self.exceptions if some.have(row_id) for one in some.set]
        return merged([*common, *self.set, *own, *after])

    def multiplied(self, config: dict[str, Any]) -> list[str]:
        """The overrides by which a row of this config has its numbers multiplied."""
        values = {key: _value(config, key) for key in self.times}
        return [f"{key}={_times(value, self.times[key])}" for key, value in values.items() if value is not None]


def read(entry: dict[str, Any], path: str) -> Scale:
    """A scale of a table. Raises UserError for unknown keys and values that do not fit."""
    exceptions = entry.get("exceptions", [])
    if not isinstance(exceptions, list) or not all(isinstance(some, dict) for some in exceptions):
        raise UserError(f"{path}.exceptions={exceptions!r} does not fit; write [{{rows: [GLOB], set: []}}].")
    typed = [_some(some, f"{path}.exceptions") for some in exceptions]
    scale: Scale = binding.dataclass_from(Scale, entry | {"exceptions": typed}, path)
    return Scale(conf.spell_out(scale.set), scale.times, scale.exceptions, scale.work)


def check_exceptions(scale: Scale, row_ids: Iterable[str], path: str) -> None:
    """UserError for a glob that fits none of the rows that have settings of their own."""
    known = list(row_ids)
    for glob in (glob for some in scale.exceptions for glob in some.rows):
        if not fnmatch.filter(known, glob):
            raise UserError(
                f"{path}.exceptions: {glob} fits no row that has settings of its own; name ids or globs of ids."
            )


def merged(overrides: Iterable[str]) -> list[str]:
    """Overrides with each key once, the later value standing; an option that is replaced drops nothing else."""
    return list({o.partition("=")[0]: o for o in overrides}.values())


def _some(entry: dict[str, Any], path: str) -> SomeRows:
    some: SomeRows = binding.dataclass_from(SomeRows, entry, path)
    return SomeRows(some.rows, conf.spell_out(some.set))


def _value(config: dict[str, Any], key: str) -> Any:
    """The value of a dotted key; None where the config has no such key."""
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _times(value: float, factor: float) -> float:
    """Whole numbers stay whole, rounded half up, and at least 1."""
    return max(1, math.floor(value * factor + 0.5)) if isinstance(value, int) else value * factor
