"""A schedule at work: what is to be done in its folder, phase by phase, shared with others who work there; no torch."""

from __future__ import annotations

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table as RichTable

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import folder as runs
from lvm_lab.runs import reading
from lvm_lab.runs.identity import computing, fingerprint, reads_files
from lvm_lab.sweeps import leaderboard, schedule

log = logging.getLogger(__name__)

Action = Literal["run", "go on", "try again", "skip", "wait", "start over"]
# A row whose process ends this often without a word (killed, out of memory) is given up.
TRIES = 2
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Failure:
    """What one job of a multirun failed of; row is None outside a schedule."""

    row: str | None
    sentence: str

    def __str__(self) -> str:
        return f"{self.row}: {self.sentence}" if self.row else self.sentence


Launch = Callable[[Sequence[str]], list[Failure]]


def run(asked: schedule.Asked, rest: Sequence[str], launch: Launch) -> list[Failure]:
    """What a command with a schedule asks for: show a row's config, list, run one row, or run many.

    rest: the command's other arguments, which every row gets. Raises UserError before anything runs.
    """
    sweep = Sweep(asked, [a for a in rest if a not in ("-m", "--multirun")], launch)
    if {"--help", "-h", "--hydra-help", "--info", "-i"} & set(rest):
        return launch(rest)
    if {"--cfg", "-c"} & set(rest) or any(a.startswith("--cfg=") for a in rest):
        return launch([*sweep.rest, sweep.one(write=False)])
    if asked.dry_run:
        sweep.check()
        sweep.show()
        return []
    if len(rest) == len(sweep.rest):
        name = sweep.one()
        sweep.check()
        sweep.write_table()
        return launch([*sweep.rest, name])
    return sweep.all()


def settled(folder: Path, since: float) -> bool:
    """Whether another process works on a run, or has ended it since the given time."""
    return reading.locked(folder) or (_ended(folder) > since and leaderboard.entry(folder).outcome is not None)


class Sweep:
    """The rows that a command asks for, in the folder of their sweep."""

    def __init__(self, asked: schedule.Asked, rest: list[str], launch: Launch) -> None:
        for refused in ("run.dir=", "hydra.sweep.dir="):
            if any(a.lstrip("+").startswith(refused) for a in rest):
                raise UserError(f"{refused.rstrip('=')} is a row's own in a schedule; set schedule.dir instead.")
        self.asked, self.rest, self.launch = asked, rest, launch
        self.folder = asked.folder
        self.table = schedule.load(asked.name).scaled(asked.scale)
        self.chosen = self.table.select(asked)
        self.started = time.time()
        self.gated = (asked.best or self.table.best) == "passed"
        self.settings = tuple(a for a in rest if not a.startswith("-") and not re.match(r"\+*hydra[./]", a))
        self.forced = any(a == "run.force=true" for a in rest)
        self.resolved = leaderboard.resolved_of(self.folder)
        self.looked: set[str] = set()

    def one(self, write: bool = True) -> str:
        """The argument that chooses the one row that a command names; write: keep what it resolves to."""
        if len(self.asked.ids) != 1:
            raise UserError(
                f"schedule={self.table.name} is a table of {len(self.table.rows)} runs; put -m before it to run them, "
                "or name one with run_id=NAME."
            )
        (row,) = self.chosen
        self.resolve([row], write)
        schedule.register(self.written(row), self.folder)
        return f"+{schedule.GROUP}={row.id}"

    def all(self) -> list[Failure]:
        """Run the chosen rows, phase by phase; what failed comes back."""
        self.check()
        self.write_table()
        failures: list[Failure] = []
        for phase in sorted({row.phase for row in self.chosen}):
            rows = [row for row in self.chosen if row.phase == phase]
            try:
                self.resolve(rows)
            except UserError as refused:
                return [*failures, Failure(rows[0].id, str(refused))]
            self._check_settings(rows)
            failures += self._phase(rows)
        return failures

    def check(self) -> None:
        """Everything that can be wrong before a run starts: ids, keys, folders, and rows that come too early."""
        known = {row.id for row in self.table.rows}
        table = leaderboard.table_of(self.folder)
        if table and (table["name"], table["scale"]) != (self.table.name, self.asked.scale):
            raise UserError(
                f"{self.folder} is the folder of schedule={table['name']} at scale {table['scale']}; "
                "choose another schedule.dir."
            )
        chosen = {row.id for row in self.chosen}
        for row in self.chosen:
            if row.waits and row.id not in self.resolved:
                self._refuse_early(row, among=known - chosen)
        self._check_settings(row for row in self.chosen if not row.waits or row.id in self.resolved)

    def write_table(self) -> None:
        """Say in the sweep's folder which rows it has, so that those who read it know what is missing."""
        rows = [{k: v for k, v in asdict(row).items() if v is not None} for row in self.table.rows]
        said = {"name": self.table.name, "scale": self.asked.scale, "rows": rows}
        if leaderboard.table_of(self.folder) != said:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / leaderboard.TABLE, yaml.safe_dump(said, sort_keys=False, width=160))

    def resolve(self, rows: Sequence[schedule.Row], write: bool = True) -> None:
        """Settle what `rows` refer to on the leaderboard, once: what is written in the folder stands.

        Raises UserError while an earlier row is not done, or where too few can be best.
        """
        if all(row.id in self.resolved for row in rows if row.waits):
            return
        for row in rows:
            self._refuse_early(row, among={r.id for r in self.table.rows})
        with FileLock(self.folder / ".resolved.lock"):
            self.resolved = leaderboard.resolved_of(self.folder)
            # All rows of a phase see the same leaderboard, also where a command asks for one of them.
            together = [r for r in self.table.rows if r.phase in {row.phase for row in rows} and r.waits]
            new = {row.id: self._settle(row) for row in together if row.id not in self.resolved}
            self.resolved |= new
            if new and write:
                text = yaml.safe_dump(self.resolved, sort_keys=False, width=160)
                write_atomically(self.folder / leaderboard.RESOLVED, text)

    def written(self, row: schedule.Row) -> schedule.Row:
        """The row with the settings that it was resolved to."""
        said = self.resolved.get(row.id)
        return replace(row, overrides=said["overrides"], source=None) if said else row

    def action(self, row: schedule.Row) -> Action:
        """What is to be done with a row, by what its folder holds."""
        at = leaderboard.entry(self.folder / row.id)
        if at.status == "running":
            return "wait"
        if at.outcome is not None:
            before = _ended(at.folder) < self.started
            if before and self.forced:
                return "start over"
            if at.outcome == "failed":
                return "try again" if before else "skip"
            # A file may have changed under the same name: the run itself looks at its content.
            return "run" if before and reads_files(at.config) and row.id not in self.looked else "skip"
        return "go on" if (at.folder / "checkpoints" / "last.ckpt").exists() else "run"

    def show(self, console: Console | None = None) -> None:
        """The dry run: each chosen row with what would be done and how long that takes, as far as that is known."""
        seconds: dict[str, list[float]] = {}
        for r in leaderboard.read(self.folder) if self.folder.is_dir() else []:
            if r.status == "finished" and r.seconds:
                seconds.setdefault(r.arch, []).append(r.seconds)
        table = RichTable(title=f"schedule={self.table.name} in {self.folder}", title_justify="left")
        for column in ("run", "week", "phase", "arch", "what", "time"):
            table.add_column(column, no_wrap=True)
        counts: Counter[str] = Counter()
        total, unknown = 0.0, 0
        for row in self.chosen:
            what, arch = self.action(row), self._arch(row)
            counts[what] += 1
            measured = seconds.get(arch)
            if what in ("skip", "wait"):
                estimate = ""
            elif measured:
                total += sum(measured) / len(measured)
                estimate = f"{sum(measured) / len(measured):.0f} s"
            else:
                unknown += 1
                estimate = "unknown"
            table.add_row(row.id, str(row.week), str(row.phase), arch or "the leaderboard says", what, estimate)
        console = console or Console(width=120)
        console.print(table)
        console.print(", ".join(f"{number} to {what}" for what, number in counts.items()), highlight=False)
        known = f"about {total / 60:.1f} minutes one after the other" if total else ""
        rest = f"{unknown} rows of unknown time: none of their architecture is finished yet" if unknown else ""
        console.print("; ".join(filter(None, (known, rest))) or "nothing to run", highlight=False)

    def _phase(self, rows: list[schedule.Row]) -> list[Failure]:
        """Work on a phase until every row of it is done, here or by another process."""
        failures: dict[str, Failure] = {}
        tries: Counter[str] = Counter()
        told_of_waiting = False
        while True:
            actions = {row.id: self.action(row) for row in rows if row.id not in failures}
            todo = [i for i, what in actions.items() if what not in ("skip", "wait")]
            if given_up := [i for i in todo if tries[i] >= TRIES]:
                for row_id in given_up:
                    failures[row_id] = self._give_up(row_id)
                continue
            if not todo and "wait" not in actions.values():
                break
            if not todo:
                if not told_of_waiting:
                    busy = ", ".join(i for i, what in actions.items() if what == "wait")
                    print(f"waiting for another process, which works on {busy}", flush=True)
                told_of_waiting = True
                time.sleep(POLL_SECONDS)
                continue
            # One that took its process down is tried alone, so that it takes no other with it.
            batch = [i for i in todo if not tries[i]] or todo[:1]
            for failure in self._launch([row for row in rows if row.id in batch]):
                failures[str(failure.row)] = failure
            self.looked |= set(batch)
            tries.update(i for i in batch if not reading.locked(self.folder / i))
        for row in rows:
            at = leaderboard.entry(self.folder / row.id)
            if at.outcome == "failed" and row.id not in failures:
                failures[row.id] = Failure(row.id, f"{at.error}; see {at.folder / 'train.log'}")
        return [failures[row.id] for row in rows if row.id in failures]

    def _launch(self, rows: list[schedule.Row]) -> list[Failure]:
        for row in rows:
            schedule.register(self.written(row), self.folder)
        chosen = f"+{schedule.GROUP}={','.join(row.id for row in rows)}"
        quoted = str(self.folder).replace("\\", "\\\\").replace("'", "\\'")
        try:
            return self.launch(["-m", *self.rest, chosen, f"hydra.sweep.dir='{quoted}'"])
        except (UserError, HydraException, OmegaConfBaseException, OSError):
            raise
        except Exception as error:
            # A worker was killed: what it had not begun or not ended is launched again.
            log.error("the launcher failed", exc_info=error)
            return []

    def _give_up(self, row_id: str) -> Failure:
        sentence = f"its process ended {TRIES} times without a result (killed, or out of memory)"
        folder = self.folder / row_id
        config = leaderboard.entry(folder).config
        if config:
            runs.record_failure(folder, config, sentence)
        return Failure(row_id, sentence)

    def _check_settings(self, rows: Iterable[schedule.Row]) -> None:
        """UserError for a row that does not compose, or whose folder holds another run or one that was edited."""
        for row in rows:
            config = schedule.config_of(row.id, tuple(self.written(row).overrides), self.settings)
            at = leaderboard.entry(self.folder / row.id)
            if not at.config or at.outcome == "failed" or self.forced:
                continue
            identity = at.config.get("identity", {})
            if fingerprint(at.config, identity.get("content", {})) != identity.get("fingerprint"):
                raise UserError(
                    f"{at.folder / 'config.yaml'} was changed after it was written; put it back, or run.force=true to "
                    "start over."
                )
            difference = _difference(computing(at.config), computing(config))
            if difference:
                raise UserError(
                    f"{at.folder} holds a run of another config ({difference}); choose another schedule.dir, or "
                    "run.force=true to start over."
                )

    def _refuse_early(self, row: schedule.Row, among: set[str]) -> None:
        for other in self.table.earlier(row):
            earlier = leaderboard.entry(self.folder / other.id)
            if other.id in among and earlier.outcome is None:
                raise UserError(
                    f"{row.id} takes the best of the earlier rows, and {other.id} is {earlier.status}; run those first."
                )

    def _settle(self, row: schedule.Row) -> dict[str, Any]:
        """What a row that refers to the leaderboard is to run, and whose settings these are."""
        rows = [
            leaderboard.entry(self.folder / r.id, settings=self.written(r).overrides) for r in self.table.earlier(row)
        ]
        best = leaderboard.best_architectures(rows, 3, self.gated)
        place = int(schedule.BEST.fullmatch(row.source)[1]) if row.source else 3  # type: ignore[index]
        if len(best) < place:
            passing = " that pass their 5CAT preset on VAL" if self.gated else ""
            way_out = "schedule.best=any takes the best of all" if self.gated else "let more rows finish"
            raise UserError(f"week 5 needs {place} architectures{passing} and there are {len(best)}; {way_out}.")
        if row.source is None:
            folders = ",".join(f"'{r.folder}'" for r in best)
            members = f"arch.members=[{folders}]"
            overrides = [members if o == f"arch.members={schedule.TOP}" else o for o in row.overrides]
            return {"of": [r.name for r in best], "overrides": overrides}
        chosen = best[place - 1]
        return {"of": [chosen.name], "overrides": schedule.merged([*chosen.settings, *row.overrides])}

    def _arch(self, row: schedule.Row) -> str:
        chosen = [o.partition("=")[2] for o in self.written(row).overrides if o.startswith("arch=")]
        return chosen[-1] if chosen else ""


def _ended(folder: Path) -> float:
    try:
        return (folder / "result.json").stat().st_mtime
    except OSError:
        return 0.0


def _difference(there: Any, here: Any, path: str = "") -> str | None:
    """The first setting in which two configs differ, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in (*there, *(k for k in here if k not in there)):
            found = _difference(there.get(key), here.get(key), f"{path}.{key}".lstrip("."))
            if found:
                return found.replace("five_cat", "5cat")
        return None
    # As the fingerprint sees it: a list is a tuple.
    if json.dumps(there) == json.dumps(here):
        return None
    return f"{path} is {there} there and {here} here"
