"""A schedule at work in its folder, shared with other processes: each row launched, waited for or skipped."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import reading
from lvm_lab.runs.folder import record_failure
from lvm_lab.sweeps import leaderboard, standings
from lvm_lab.sweeps.checking import check_folder, check_turn, check_types, check_unchanged
from lvm_lab.sweeps.plan import (
    TRIES,
    Action,
    Forecast,
    Standings,
    UnreadDataError,
    Weigh,
    Work,
    forecast,
    plan,
    rate_of,
    step,
)
from lvm_lab.sweeps.resolving import Resolution
from lvm_lab.sweeps.schedule import Request, Row, Schedule

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Failure:
    """What one job of a multirun failed of; row is None outside a schedule."""

    row: str | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.row}: {self.sentence}" if self.row else self.sentence


class Launcher(Protocol):
    """How a sweep's rows become configs and runs; commands have one by Hydra, tests one of their own."""

    def compose(self, row: Row) -> dict[str, Any]:
        """A row's resolved config, with the command's own settings after the row's. Raises UserError."""

    def launch(self, rows: Sequence[Row], folder: Path) -> list[Failure]:
        """Run rows, each in `folder`/<its id>; what failed comes back.

        Raises UserError or OSError for what the user or the machine has to mend, and any other exception where a
        worker was killed.
        """


class Sweep:
    """The rows that a command selects from a schedule that is written out, in the folder of their sweep."""

    def __init__(self, request: Request, schedule: Schedule, launcher: Launcher, force: bool = False) -> None:
        self.request, self.schedule, self.launcher, self.force = request, schedule, launcher, force
        self.folder = request.folder
        self.rows = schedule.select(request)
        self.since = time.time()
        gated = (request.best or schedule.best) == "passed"
        self.resolution = Resolution(schedule, self.folder, gated, self._reads)
        self.launched: set[str] = set()

    def one(self, write: bool = True) -> Row:
        """The one row that a command names, with what it resolves to; write: keep that in the folder."""
        if len(self.request.ids) != 1:
            raise UserError(
                f"schedule={self.schedule.name} is a table of {len(self.schedule.rows)} runs; put -m before it to run "
                "them, or name one with run_id=NAME."
            )
        self.resolution.settle(self.rows, self._refuse_early, write)
        return self.resolution.written(self.rows[0])

    def run(self) -> list[Failure]:
        """Run the selected rows, phase by phase; what failed comes back."""
        self.check()
        self.write_table()
        failures: list[Failure] = []
        for phase in sorted({row.phase for row in self.rows}):
            rows = [row for row in self.rows if row.phase == phase]
            try:
                self.resolution.settle(rows, self._refuse_early)
            except UserError as refusal:
                return [*failures, Failure(rows[0].id, str(refusal))]
            self._check_settings(rows, standings.read(self.folder, rows))
            failures += self._phase(rows)
        return failures

    def check(self) -> None:
        """UserError for everything that can be wrong before a run starts."""
        check_folder(self.folder, self.schedule, self.request.scale)
        board = standings.read(self.folder, self.schedule.rows)
        others = {row.id for row in self.schedule.rows} - {row.id for row in self.rows}
        for row in self.rows:
            if self.resolution.open(row):
                check_turn(row, self.schedule, board, among=others)
        self._check_settings([row for row in self.rows if not self.resolution.open(row)], board)

    def write_table(self) -> None:
        """Say in the sweep's folder which rows it has, so that those who read it know what is missing."""
        # Where a row is written is a machine's affair, and no part of what the sweep runs.
        rows = [{k: v for k, v in asdict(row).items() if v is not None and k != "place"} for row in self.schedule.rows]
        table = {"name": self.schedule.name, "scale": self.request.scale, "rows": rows}
        if leaderboard.table_of(self.folder) != table:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / leaderboard.TABLE, yaml.safe_dump(table, sort_keys=False, width=160))

    def forecast(self, weigh: Weigh | None = None) -> list[Forecast]:
        """The dry run: each selected row with what would be done and how long that takes, as far as that is known.

        weigh: says how much work a run is. Raises UserError for a row that it refuses.
        """
        rows = [self.resolution.written(row) for row in self.rows]
        board = standings.read(self.folder, rows)
        works = self._works(rows, weigh) if weigh else {}
        seconds = standings.seconds_by_arch(self.folder)
        return forecast(rows, self._actions(rows, board), seconds, works, rate_of(works, board))

    def _works(self, rows: Iterable[Row], weigh: Weigh) -> dict[str, Work | UnreadDataError]:
        """By row id; without the rows that wait for the leaderboard, and ensembles, whose models are others'."""
        works: dict[str, Work | UnreadDataError] = {}
        for row in rows:
            if self.resolution.open(row):
                continue
            config = self.launcher.compose(row)
            if "members" in config["arch"]:
                continue
            try:
                works[row.id] = weigh(config)
            except UnreadDataError as unread:
                works[row.id] = unread
            except UserError as error:
                raise UserError(row.refusal(str(error))) from error
        return works

    def _reads(self, row: Row) -> int:
        """How many vectors a row's model reads at once."""
        length: int = self.launcher.compose(row)["data"]["context_length"]
        return length

    def _phase(self, rows: list[Row]) -> list[Failure]:
        """Work on a phase until every row of it is done, here or by another process."""
        failures: dict[str, Failure] = {}
        tries: Counter[str] = Counter()
        announced = False
        while True:
            board = standings.read(self.folder, rows)
            next_step = step(self._actions([row for row in rows if row.id not in failures], board), tries)
            if next_step.give_up:
                failures |= {row_id: self._give_up(row_id, board) for row_id in next_step.give_up}
            elif next_step.launch:
                batch = [row for row in rows if row.id in next_step.launch]
                failures |= {str(failure.row): failure for failure in self._launch(batch)}
                self.launched |= set(next_step.launch)
                tries.update(i for i in next_step.launch if not reading.locked(self.folder / i))
            elif next_step.wait_for:
                if not announced:
                    busy = ", ".join(next_step.wait_for)
                    print(f"waiting for another process, which works on {busy}", flush=True)
                announced = True
                time.sleep(POLL_SECONDS)
            else:
                break
        for row in rows:
            if board[row.id].outcome == "failed" and row.id not in failures:
                sentence = f"{board[row.id].error}; see {self.folder / row.id / 'train.log'}"
                failures[row.id] = Failure(row.id, sentence)
        return [failures[row.id] for row in rows if row.id in failures]

    def _actions(self, rows: Iterable[Row], board: Standings) -> dict[str, Action]:
        return plan(rows, board, since=self.since, force=self.force, launched=self.launched)

    def _launch(self, rows: list[Row]) -> list[Failure]:
        try:
            return self.launcher.launch([self.resolution.written(row) for row in rows], self.folder)
        except (UserError, OSError):
            raise
        except Exception as error:
            # A worker was killed: what it had not begun or not ended is launched again.
            log.error("the launcher failed", exc_info=error)
            return []

    def _give_up(self, row_id: str, board: Standings) -> Failure:
        sentence = f"its process ended {TRIES} times without a result (killed, or out of memory)"
        if board[row_id].config:
            record_failure(self.folder / row_id, board[row_id].config, sentence)
        return Failure(row_id, sentence)

    def _check_settings(self, rows: Sequence[Row], board: Standings) -> None:
        """UserError for a row that does not compose, whose values do not fit, or whose folder holds another run."""
        for row in rows:
            config = self.launcher.compose(self.resolution.written(row))
            check_types(row, config)
            if not self.force:
                check_unchanged(self.folder / row.id, board[row.id], config)

    def _refuse_early(self, rows: Iterable[Row]) -> None:
        board = standings.read(self.folder, self.schedule.rows)
        for row in rows:
            check_turn(row, self.schedule, board, among=board)
