"""Runs that differ in nothing but their seed, as mean and deviation; no torch."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from lvm_lab.reporting.board.columns import Board, Column, Line
from lvm_lab.reporting.words import STATES
from lvm_lab.runs.identity import computing


@dataclass(frozen=True)
class Spread:
    """mean and deviation (over count - 1) of a number over the seeds that have it.

    deviation: None of one alone, and past the largest float.
    """

    mean: float
    deviation: float | None
    count: int


@dataclass(frozen=True)
class Group:
    """seeds: the runs of one config, or the pools of their folds. numbers: by column; a gate's is the share of seeds
    that pass it. folds: the runs of pools."""

    name: str
    seeds: list[Line]
    numbers: dict[str, Spread]
    folds: list[Line]


def groups(board: Board) -> list[Group]:
    """Every run in one group, in the order of the first of each; what has no config yet stands alone."""
    alike: dict[str, list[Line]] = {}
    for line in board.lines:
        if line.pool is None:
            alike.setdefault(_key(line), []).append(line)
    return [_group(lines, board) for lines in alike.values()]


def _group(lines: list[Line], board: Board) -> Group:
    pools = {line.entry.name for line in lines}
    return Group(_name(lines), lines, _numbers(lines, board.columns), [x for x in board.lines if x.pool in pools])


def _key(line: Line) -> str:
    config = line.entry.config
    if not config:
        return line.entry.name
    settings = {k: v for k, v in computing(config).items() if k != "seed"}
    content = line.entry.run.identity.content
    if not content:
        # It failed before its data were read.
        return line.entry.name
    return json.dumps([settings, content], sort_keys=True, default=str)


def _name(lines: Sequence[Line]) -> str:
    names = [line.entry.name for line in lines]
    if len(names) == 1:
        return names[0]
    shared = "".join(c[0] for c in takewhile(lambda c: len(set(c)) == 1, zip(*names, strict=False))).rstrip("-_. ")
    # Names that share next to nothing, as of a row and of its later seeds, are told by the first.
    name = shared if 2 * len(shared) >= len(names[0]) else names[0]
    return f"{name} ({len(names)} seeds)"


def _numbers(lines: Sequence[Line], columns: Sequence[Column]) -> dict[str, Spread]:
    numbers = {}
    for column in columns:
        cells = [line.cells[column.key] for line in lines]
        if column.kind == "state":
            values = [float(cell == STATES[True]) for cell in cells if cell in STATES.values()]
        elif column.kind in ("whole", "number") and column.key not in ("week", "seed"):
            values = [float(cell) for cell in cells if isinstance(cell, int | float) and _is_finite(cell)]
        else:
            continue
        if values:
            # fmean's sum may be past the largest float where the mean is not.
            numbers[column.key] = Spread(statistics.mean(values), _deviation(values), len(values))
    return numbers


def _deviation(values: Sequence[float]) -> float | None:
    try:
        return statistics.stdev(values) if len(values) > 1 else None
    except OverflowError:
        return None


def _is_finite(cell: float) -> bool:
    """Whether a cell is a number that a float can hold; a setting or an own column may be none."""
    try:
        return math.isfinite(cell)
    except OverflowError:
        return False
