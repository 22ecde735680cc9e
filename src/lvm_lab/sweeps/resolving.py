"""What the rows that refer to the leaderboard run: settled once, written to the sweep's folder, and kept; no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.sweeps import leaderboard, scales, schedule, standings
from lvm_lab.sweeps.schedule import Row, Schedule

LOCK = ".resolved.lock"


@dataclass
class Resolution:
    """The rows of a sweep that refer to the leaderboard, with whose settings they took.

    gated: whether only runs that pass their preset on VAL can be best. reads: how many vectors a row reads at once,
    as an ensemble's members have to. entries: by row id, as resolved.yaml has them.
    """

    schedule: Schedule
    folder: Path
    gated: bool
    reads: Callable[[Row], int]
    entries: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entries = leaderboard.resolved_of(self.folder)

    def open(self, row: Row) -> bool:
        """Whether a row still waits for the leaderboard."""
        return row.waits and row.id not in self.entries

    def written(self, row: Row) -> Row:
        """The row with the settings that it was resolved to."""
        entry = self.entries.get(row.id)
        return replace(row, overrides=entry["overrides"], source=None) if entry else row

    def settle(self, rows: Sequence[Row], refuse_early: Callable[[Iterable[Row]], None], write: bool = True) -> None:
        """Settle what `rows` refer to, once: what is written in the folder stands.

        refuse_early: called with the rows that are still open, raises UserError while one comes too early. write: keep
        it in the folder. Raises UserError where too few runs can be best.
        """
        waiting = [row for row in rows if self.open(row)]
        if not waiting:
            return
        refuse_early(waiting)
        with FileLock(self.folder / LOCK):
            self.entries = leaderboard.resolved_of(self.folder)
            # All rows of a phase see the same leaderboard, also where a command names one of them.
            phases = {row.phase for row in rows}
            together = [row for row in self.schedule.rows if row.phase in phases and self.open(row)]
            new = {row.id: self._entry(row) for row in together}
            self.entries |= new
            if new and write:
                text = yaml.safe_dump(self.entries, sort_keys=False, width=160)
                write_atomically(self.folder / leaderboard.RESOLVED, text)

    def _entry(self, row: Row) -> dict[str, Any]:
        """What a row is to run, and whose settings these are."""
        earlier = [self.written(other) for other in self.schedule.earlier(row)]
        reads = None if row.source else self.reads(row)
        best = standings.best(self.folder, earlier, 3, self.gated, reads)
        place = int(schedule.BEST.fullmatch(row.source)[1]) if row.source else 3  # type: ignore[index]
        if len(best) < place:
            passing = " that pass their 5CAT preset on VAL" if self.gated else ""
            reading = f", reading {reads} vectors as the ensemble does," if reads else ""
            way_out = "schedule.best=any takes the best of all" if self.gated else "let more rows finish"
            raise UserError(
                f"week 5 needs {place} architectures{passing}{reading} and there are {len(best)}; {way_out}."
            )
        if row.source is None:
            folders = ",".join(f"'{folder}'" for folder, _ in best)
            members = f"arch.members=[{folders}]"
            overrides = [members if o == f"arch.members={schedule.TOP}" else o for o in row.overrides]
            return {"of": [folder.name for folder, _ in best], "overrides": overrides}
        folder, settings = best[place - 1]
        return {"of": [folder.name], "overrides": scales.merged([*settings, *row.overrides])}
