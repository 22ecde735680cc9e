"""What is to be done with each row of a schedule and what it takes, by what the runs' folders say; reads and writes
nothing."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lvm_lab.errors import UserError
from lvm_lab.runs.reading import Status
from lvm_lab.runs.result import Outcome
from lvm_lab.sweeps.schedule import Row

Action = Literal["run", "go on", "try again", "skip", "wait", "start over"]
# A row whose process ends this often without a word (killed, out of memory) is given up.
TRIES = 2


@dataclass(frozen=True)
class Standing:
    """What a run's folder said when it was last read.

    outcome: what result.json says, also where another file is damaged; None while the run is to be run. ended: when
    result.json was written, in seconds since the epoch (0: there is none). resumable: whether it has a last.ckpt.
    reads_files: whether it reads files that may have changed under the same name. seconds: how long it took. config,
    error: of config.yaml and result.json.
    """

    status: Status = "missing"
    outcome: Outcome | None = None
    ended: float = 0.0
    resumable: bool = False
    reads_files: bool = False
    arch: str = ""
    seconds: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None


Standings = Mapping[str, Standing]


def action(standing: Standing, *, since: float, force: bool, launched: bool) -> Action:
    """What is to be done with one row.

    since: when this command began. force: whether it starts finished runs over. launched: whether it has launched this
    row already.
    """
    if standing.status == "running":
        return "wait"
    if not standing.done:
        return "go on" if standing.resumable else "run"
    if standing.ended >= since:
        return "skip"
    if force:
        return "start over"
    if standing.outcome == "failed":
        return "try again"
    # A file may have changed under the same name: the run itself compares its content.
    return "run" if standing.reads_files and not launched else "skip"


def plan(
    rows: Iterable[Row], standings: Standings, *, since: float, force: bool, launched: Container[str] = ()
) -> dict[str, Action]:
    """By row id, in the rows' order: what is to be done; see action."""
    return {row.id: action(standings[row.id], since=since, force=force, launched=row.id in launched) for row in rows}


def blocker(earlier: Iterable[Row], standings: Standings) -> Row | None:
    """The first of the earlier rows that keeps a row which refers to the leaderboard waiting."""
    return next((row for row in earlier if not standings[row.id].done), None)


@dataclass(frozen=True)
class Step:
    """What a phase does next, by row id; at most one of the three, and none of them when the phase is done."""

    launch: list[str] = field(default_factory=list)
    give_up: list[str] = field(default_factory=list)
    wait_for: list[str] = field(default_factory=list)


def step(actions: Mapping[str, Action], tries: Mapping[str, int]) -> Step:
    """The next step of a phase. tries: how often this command launched a row that left no result."""
    todo = [row_id for row_id, what in actions.items() if what not in ("skip", "wait")]
    exhausted = [row_id for row_id in todo if tries.get(row_id, 0) >= TRIES]
    if exhausted:
        return Step(give_up=exhausted)
    if todo:
        # One that took its process down is tried alone, so that it takes no other with it.
        return Step(launch=[row_id for row_id in todo if not tries.get(row_id, 0)] or todo[:1])
    return Step(wait_for=[row_id for row_id, what in actions.items() if what == "wait"])


class UnreadDataError(UserError):
    """Why the data of a run cannot be read, or cannot be trained on as its settings say."""


@dataclass(frozen=True)
class Work:
    """How much a run has to compute, as far as that can be said before it.

    parameters: of its model. positions: vectors that an epoch reads, each as often as it is read.
    """

    parameters: int
    positions: int
    epochs: int

    @property
    def flop_per_epoch(self) -> int:
        """6 floating-point operations a parameter and position: 2 forwards and 4 backwards (Kaplan et al. 2020,
        arXiv:2001.08361)."""
        return 6 * self.parameters * self.positions


# How much work a run of this config is. Raises UnreadDataError, and UserError for what training would refuse.
Weigh = Callable[[dict[str, Any]], Work]


@dataclass(frozen=True)
class Rate:
    """flop_per_second: the work of finished runs by the seconds that they took, the median; runs: how many."""

    flop_per_second: float
    runs: int


@dataclass(frozen=True)
class Forecast:
    """A row of a dry run.

    seconds: the estimate, None where it is unknown, 0 where nothing is to be done. rate: by which it comes from the
    row's work; None where finished runs of the architecture say it. unread: why its work is unknown.
    """

    row: Row
    action: Action
    seconds: float | None
    work: Work | None = None
    rate: Rate | None = None
    unread: str | None = None


def forecast(
    rows: Iterable[Row],
    actions: Mapping[str, Action],
    seconds: Mapping[str, list[float]],
    works: Mapping[str, Work | UnreadDataError] | None = None,
    rate: Rate | None = None,
) -> list[Forecast]:
    """What each row will take. seconds: by architecture, how long its finished runs took; works: by row id."""
    forecasts = []
    for row in rows:
        work = (works or {}).get(row.id)
        unread = str(work) if isinstance(work, UnreadDataError) else None
        known = work if isinstance(work, Work) else None
        estimate = _estimate(actions[row.id], seconds.get(row.arch))
        by_rate = rate if estimate is None and known else None
        if by_rate and known:
            estimate = known.flop_per_epoch * known.epochs / by_rate.flop_per_second
        forecasts.append(Forecast(row, actions[row.id], estimate, known, by_rate, unread))
    return forecasts


def rate_of(works: Mapping[str, Work | UnreadDataError], standings: Standings) -> Rate | None:
    """How fast the finished ones of these runs were; None where none is finished."""
    rates = [
        work.flop_per_epoch * work.epochs / seconds
        for row_id, work in works.items()
        if isinstance(work, Work) and standings[row_id].outcome == "finished" and (seconds := standings[row_id].seconds)
    ]
    return Rate(statistics.median(rates), len(rates)) if rates else None


def _estimate(what: Action, seconds: list[float] | None) -> float | None:
    if what in ("skip", "wait"):
        return 0.0
    return sum(seconds) / len(seconds) if seconds else None
