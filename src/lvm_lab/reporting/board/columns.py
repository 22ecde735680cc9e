"""What stands in every column of the leaderboard, and the board: the runs with their places and cells; no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lvm_lab.config.settings import NO_STRATEGY
from lvm_lab.config.thresholds import DOCUMENTS_FOR_VERDICT
from lvm_lab.reporting.words import STATES
from lvm_lab.runs.judgement import OLD_HALVES
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.leaderboard import Entry

# A cell of a run that has no such number, or not yet, is None.
Cell = str | int | float | None
LETTERS = "ABCDE"
# The preset of a run that was not to be judged.
OFF = "off"


@dataclass(frozen=True)
class Column:
    """One column. says: what it means. kind: how it is written and sorted; short: stands in Markdown too."""

    key: str
    title: str
    says: str
    of: Callable[[Entry], Cell]
    kind: Literal["text", "state", "whole", "number"] = "text"
    digits: int = 0
    short: bool = True


@dataclass(frozen=True)
class Line:
    """A run with its cells by column.

    place: 1 is the best by VAL; None was not judged on the VAL of most, or is a fold. pool: the name of the row that it
    is a fold of. apart: why it has no place though it was judged.
    """

    entry: Entry
    place: int | None
    cells: dict[str, Cell] = field(default_factory=dict)
    pool: str | None = None
    apart: str | None = None


@dataclass(frozen=True)
class Board:
    """lines: in the entries' order. best: the name of the best run that passes its preset on VAL, if one does.

    halves: how many halves of gates VAL alone can pass.
    """

    lines: list[Line]
    columns: tuple[Column, ...]
    best: str | None
    halves: int

    @classmethod
    def of(cls, entries: Sequence[Entry], extra: Sequence[Column] = ()) -> Board:
        """extra: a user's columns, which come last."""
        # A fold's run stands below its pool, whose VAL is of more documents.
        pool_of = {name: entry.name for entry in entries for name in entry.members}
        alone = [e for e in entries if e.name not in pool_of]
        passing, judged = leaderboard.ranked(alone), leaderboard.ranked(alone, gated=False)
        # What fails its preset comes after everything that passes.
        order = [e.name for e in passing] + [e.name for e in judged if not e.passes]
        places = {name: place for place, name in enumerate(order, start=1)}
        columns = (*columns_of(entries), *extra)
        lines = [
            Line(
                e,
                places.get(e.name),
                {c.key: c.of(e) for c in columns},
                pool_of.get(e.name),
                None if e.name in pool_of else leaderboard.why_apart(e, judged),
            )
            for e in entries
        ]
        halves = max((e.val.of for e in entries if e.val), default=OLD_HALVES)
        return cls(lines, columns, passing[0].name if passing else None, halves)

    def by_place(self) -> list[Line]:
        """The judged ones from the best on, then the others in the entries' order; folds below their pool."""
        alone = [line for line in self.lines if line.pool is None]
        ordered = sorted(alone, key=lambda line: (line.place is None, line.place or 0))
        folds = {head.entry.name: [line for line in self.lines if line.pool == head.entry.name] for head in ordered}
        return [line for head in ordered for line in (head, *folds[head.entry.name])]


def columns_of(entries: Iterable[Entry]) -> tuple[Column, ...]:
    """Every column of the lab; the gates' are those that these runs were judged by, besides the lab's own."""
    letters = sorted(set(LETTERS).union(*(e.result.five_cat.get("gates", {}) for e in entries if e.result)))
    return (*AHEAD, *map(_gate, letters), *BEHIND)


def throughput(entry: Entry) -> float | None:
    """Training windows a second: the median of the epochs."""
    logged = [row.get("windows_per_second") for row in entry.run.history]
    rates = [rate for rate in logged if isinstance(rate, int | float) and math.isfinite(rate)]
    return statistics.median(rates) if rates else None


def _seed(entry: Entry) -> int | None:
    seed: int | None = entry.result.seed if entry.result else entry.config.get("seed")
    return seed


def _strategy(entry: Entry) -> str | None:
    name = entry.option("strategy")
    return None if name == NO_STRATEGY["name"] else name


def _epochs(entry: Entry) -> str | None:
    done, wanted = entry.epochs
    return f"{done}/{wanted}" if wanted else None


def _params(entry: Entry) -> int | None:
    # What failed before it had a model says 0.
    return (entry.result.params or None if entry.outcome == "failed" else entry.result.params) if entry.result else None


def _gate(letter: str) -> Column:
    def state(entry: Entry) -> Cell:
        gate = entry.result.gates.get(letter) if entry.result else None
        return STATES[gate.state] if gate else None

    return Column(letter, letter, f"gate {letter} of 5CAT on VAL and OOD; null: not measurable", state, "state")


def _number(key: str, title: str, says: str, part: str = "val", short: bool = True) -> Column:
    def value(entry: Entry) -> Cell:
        return entry.result.value(part, key) if entry.result else None

    return Column(key if part == "val" else f"{part}/{key}", title, says, value, "number", 3, short)


def _skill(key: str, title: str, says: str, short: bool = False) -> Column:
    def share(entry: Entry) -> Cell:
        shares = entry.result.shares("val") if entry.result else {}
        return shares[key].value if key in shares else None

    whole = f"(model - best trivial) / (1 - best trivial) of {says} on VAL; empty where the best is perfect"
    return Column(f"skill/{key}", title, whole, share, "number", 3, short)


def _passes(entry: Entry) -> Cell:
    if entry.passes is not None:
        return STATES[entry.passes]
    if entry.rank is not None and entry.few_documents:
        return STATES[None]
    # Nothing else finishes without a verdict.
    return OFF if entry.status == "finished" and entry.result and entry.result.verdict is None else None


def _gates_passed(entry: Entry) -> Cell:
    verdict = entry.result.verdict if entry.result else None
    return verdict.passed if verdict else None


AHEAD = (
    Column("arch", "arch", "architecture", lambda e: e.arch or None),
    Column("loss", "loss", "loss", lambda e: e.option("loss")),
    Column("status", "status", "missing: in the table and not begun; started: cut off", lambda e: e.status),
    Column(
        "preset",
        "preset",
        f"whether it passes its preset on VAL; null: under {DOCUMENTS_FOR_VERDICT} documents there; off: 5cat=off",
        _passes,
        "state",
    ),
    Column("passed", "gates", "gates of 5CAT passed", _gates_passed, "whole"),
)
BEHIND = (
    Column("halves", "halves", "gates that VAL alone passes", lambda e: e.val.passed if e.val else None, "whole"),
    _number("A/margin", "margin", "cos(+1) less the best other offset on VAL"),
    _number("B/mrr_unseen", "unseen MRR", "mean reciprocal rank on VAL, the run's own context aside"),
    _number(
        "following/mrr",
        "following",
        "mean reciprocal rank on VAL among the target and all later chunks: compares whatever a run reads",
    ),
    _number("A/cos", "cos", "mean cosine of prediction and target on VAL"),
    _number("B/r1", "R@1", "recall at 1 among the document's chunks on VAL", short=False),
    _number("D/rollout", "rollout", "mean cosine over five fed-back steps on VAL", short=False),
    _skill("A/cos", "skill cos", "the cosine", short=True),
    _skill("B/mrr_unseen", "skill unseen", "the unseen MRR"),
    _skill("D/rollout", "skill rollout", "the rollout"),
    _number("A/margin", "OOD margin", "the margin out of domain; chooses nothing", "ood", short=False),
    Column("params", "parameters", "all parameters, an ensemble's members included", _params, "whole"),
    Column("seconds", "seconds", "training and scoring", lambda e: e.seconds, "number", 1),
    Column("throughput", "windows/s", "training windows a second, median epoch", throughput, "number", 0, False),
    Column("epochs", "epochs", "done / asked for", _epochs, short=False),
    Column("data", "data", "data", lambda e: e.option("data"), short=False),
    Column("strategy", "strategy", "strategy of the training; empty: none", _strategy, short=False),
    Column("seed", "seed", "seed of the training", _seed, "whole", short=False),
    Column("week", "week", "week of the schedule", lambda e: e.week, "whole", short=False),
)  # fmt: skip
