"""What stands in every column of the leaderboard, and the board: the rows with their places and cells; no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.leaderboard import Row

# A cell of a run that has no such number, or not yet, is None.
Cell = str | int | float | None
GATES = "ABCDE"
STATES = {True: "pass", False: "fail", None: "null"}


@dataclass(frozen=True)
class Column:
    """One column. says: what it means. kind: how it is written and sorted; short: stands in Markdown too."""

    key: str
    title: str
    says: str
    of: Callable[[Row], Cell]
    kind: Literal["text", "state", "whole", "number"] = "text"
    digits: int = 0
    short: bool = True


def at(found: Any, *keys: str) -> Any:
    """The value under nested keys; None where a key or a level is missing."""
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def chosen(row: Row, group: str) -> str | None:
    """The name of the loss or the data; None for a row that is not begun and names none."""
    said = [s.partition("=")[2] for s in row.settings if s.startswith(f"{group}=")]
    return at(row.result, group) or at(row.config, group, "name") or (said[-1] if said else None)


def throughput(row: Row) -> float | None:
    """Training windows a second: the median of the epochs."""
    told = [r.get("windows_per_second") for r in row.history()]
    found = [v for v in told if isinstance(v, int | float) and math.isfinite(v)]
    return statistics.median(found) if found else None


def _seed(row: Row) -> int | None:
    return next((s for s in (at(row.result, "seed"), at(row.config, "seed")) if s is not None), None)


def _epochs(row: Row) -> str | None:
    done, wanted = row.epochs
    return f"{done}/{wanted}" if wanted else None


def _params(row: Row) -> int | None:
    found: int | None = at(row.result, "params")
    # What failed before it had a model says 0.
    return found or None if row.status == "failed" else found


def _gate(letter: str) -> Column:
    def state(row: Row) -> Cell:
        gate = at(row.result, "five_cat", "gates", letter)
        return STATES[gate["state"]] if gate else None

    return Column(letter, letter, f"gate {letter} of 5CAT on VAL and OOD; null: not measurable", state, "state")


def _number(key: str, title: str, says: str, part: str = "val", short: bool = True) -> Column:
    name = key if part == "val" else f"{part}/{key}"
    return Column(name, title, says, lambda r: at(r.result, "five_cat", "model", part, key), "number", 3, short)


def _skill(key: str, title: str, says: str, short: bool = False) -> Column:
    whole = f"(model - best trivial) / (1 - best trivial) of {says} on VAL; empty where the best is perfect"
    return Column(
        f"skill/{key}", title, whole, lambda r: at(r.result, "skill", "val", key, "value"), "number", 3, short
    )


def _passes(row: Row) -> Cell:
    return {True: "pass", False: "fail", None: None}[row.passes]


COLUMNS = (
    Column("arch", "arch", "architecture", lambda r: r.arch or None),
    Column("loss", "loss", "loss", lambda r: chosen(r, "loss")),
    Column("status", "status", "missing: in the table and not begun; started: cut off", lambda r: r.status),
    Column("preset", "preset", "whether it passes its 5CAT preset on VAL, and so may be best", _passes, "state"),
    Column("passed", "gates", "gates passed, of 5", lambda r: at(r.result, "five_cat", "passed"), "whole"),
    *(_gate(letter) for letter in GATES),
    Column("halves", "halves", "VAL halves of A to D", lambda r: at(r.result, "five_cat", "val", "passed"), "whole"),
    _number("A/margin", "margin", "cos(+1) less the best other offset on VAL"),
    _number("B/mrr_unseen", "unseen MRR", "mean reciprocal rank on VAL, the context's chunks aside"),
    _number("A/cos", "cos", "mean cosine of prediction and target on VAL"),
    _number("B/r1", "R@1", "recall at 1 among the document's chunks on VAL", short=False),
    _number("D/rollout", "rollout", "mean cosine over five fed-back steps on VAL", short=False),
    _skill("A/cos", "skill cos", "the cosine", short=True),
    _skill("B/mrr_unseen", "skill unseen", "the unseen MRR"),
    _skill("D/rollout", "skill rollout", "the rollout"),
    _number("A/margin", "OOD margin", "the margin out of domain; chooses nothing", "ood", short=False),
    Column("params", "parameters", "all parameters, an ensemble's members included", _params, "whole"),
    Column("seconds", "seconds", "training and scoring", lambda r: r.seconds, "number", 1),
    Column("throughput", "windows/s", "training windows a second, median epoch", throughput, "number", 0, False),
    Column("epochs", "epochs", "done / asked for", _epochs, short=False),
    Column("data", "data", "data", lambda r: chosen(r, "data"), short=False),
    Column("seed", "seed", "seed of the training", _seed, "whole", short=False),
    Column("week", "week", "week of the schedule", lambda r: r.week, "whole", short=False),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A run with its cells by column. place: 1 is the best by VAL, None was not judged on the VAL of most."""

    row: Row
    place: int | None
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """lines: in the rows' order. best: the name of the best run that passes its preset on VAL, if one does."""

    lines: list[Line]
    best: str | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Board:
        passing, judged = leaderboard.ranked(rows), leaderboard.ranked(rows, gated=False)
        # What fails its preset comes after everything that passes.
        order = [r.name for r in passing] + [r.name for r in judged if not r.passes]
        places = {name: place for place, name in enumerate(order, start=1)}
        lines = [Line(r, places.get(r.name), {c.key: c.of(r) for c in COLUMNS}) for r in rows]
        return cls(lines, passing[0].name if passing else None)

    def by_place(self) -> list[Line]:
        """The judged ones from the best on, then the others in the rows' order."""
        return sorted(self.lines, key=lambda line: (line.place is None, line.place or 0))
