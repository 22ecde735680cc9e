"""A schedule: a table of runs, one row a run, read from conf/schedule/, scaled and selected from; no Hydra."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config import binding, conf
from lvm_lab.errors import UserError
from lvm_lab.sweeps import places, scales
from lvm_lab.sweeps.scales import Scale, merged

TOP = "top3"
# The folder of schedules in conf/, and in a user's own folder of options.
GROUP = "schedule"
BEST = re.compile(r"best([123])")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Request:
    """What a command says of a schedule: schedule=NAME, schedule.KEY=VALUE and run_id=NAME.

    week, only (globs, by commas) and ids select rows; dry_run lists and runs nothing; scale is one of
    the schedule's; dir is the sweep's folder (null: multirun/<name>, or multirun/<name>-<scale>). best:
    passed lets only runs that pass their preset on VAL become best, any takes what there is (null:
    what the schedule says).
    """

    name: str
    ids: list[str] = field(default_factory=list)
    week: int | None = None
    only: str | None = None
    scale: str | None = None
    dir: str | None = None
    best: Literal["passed", "any"] | None = None
    dry_run: bool = False

    @property
    def folder(self) -> Path:
        return Path(self.dir or f"multirun/{self.name}{f'-{self.scale}' if self.scale else ''}")


@dataclass(frozen=True)
class Row:
    """One run. source: best1 to best3, the earlier run whose settings come first, or nothing.

    place: the file and line where it is written.
    """

    id: str
    week: int
    phase: int
    overrides: list[str]
    source: str | None = None
    place: str = field(default="", compare=False)

    @property
    def waits(self) -> bool:
        """Whether it refers to the leaderboard."""
        return self.source is not None or f"arch.members={TOP}" in self.overrides

    @property
    def arch(self) -> str:
        """The architecture that its overrides name; empty where they name none."""
        names = [o.partition("=")[2] for o in self.overrides if o.startswith("arch=")]
        return names[-1] if names else ""

    def refusal(self, sentence: str) -> str:
        """What is wrong with the row, after its id; after its file and line too where its own overrides are meant."""
        typed = sentence.replace("5cat", "five_cat")
        own = any((o if "." not in o.partition("=")[0] else o.partition("=")[0]) in typed for o in self.overrides)
        return f"{self.place}, row {self.id}: {sentence}" if own and self.place else f"row {self.id}: {sentence}"


# A row's resolved config; raises UserError for a row that does not compose.
Compose = Callable[[Row], dict[str, Any]]


@dataclass(frozen=True)
class Schedule:
    """Phases run one after the other; common stands before every row's own overrides."""

    name: str
    rows: list[Row]
    common: list[str] = field(default_factory=list)
    scales: dict[str, Scale] = field(default_factory=dict)
    best: Literal["passed", "any"] = "passed"

    def scaled(self, name: str | None, compose: Compose) -> Schedule:
        """The schedule with every row's overrides written out: the common ones, the scale's, its own.

        Raises UserError for a scale that the schedule does not have.
        """
        if name is not None and name not in self.scales:
            there = f"there is {', '.join(self.scales)}" if self.scales else "it has none"
            raise UserError(f"schedule={self.name} has no scale {name}; {there}.")
        scale = self.scales[name] if name else Scale()
        return replace(self, rows=[self._written_out(row, scale, compose) for row in self.rows], common=[])

    def select(self, request: Request) -> list[Row]:
        """The rows that a command names, by id, week and glob.

        Raises UserError where it names a row that does not exist, or none is left.
        """
        known = [row.id for row in self.rows]
        for row_id in request.ids:
            if row_id not in known:
                close = difflib.get_close_matches(row_id, known, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise UserError(
                    f"run_id={row_id} is no row of schedule={self.name}{hint}; schedule.dry_run=true lists its rows."
                )
        globs = request.only.split(",") if request.only else ["*"]
        selection = [
            row
            for row in self.rows
            if (not request.ids or row.id in request.ids)
            and request.week in (None, row.week)
            and any(fnmatch.fnmatchcase(row.id, glob.strip()) for glob in globs)
        ]
        if not selection:
            weeks = ", ".join(map(str, sorted({row.week for row in self.rows})))
            raise UserError(
                f"no row of schedule={self.name} is asked for; its weeks are {weeks}, its first row is {known[0]}."
            )
        return selection

    def earlier(self, row: Row) -> list[Row]:
        """The rows that a row's leaderboard is made of."""
        return [other for other in self.rows if other.phase < row.phase]

    def _written_out(self, row: Row, scale: Scale, compose: Compose) -> Row:
        if row.source is not None:
            # It copies the settings of a row that is written out already.
            return row
        written = replace(row, overrides=scale.written_out(row.id, self.common, row.overrides))
        if not scale.times:
            return written
        return replace(written, overrides=merged([*written.overrides, *scale.multiplied(compose(written))]))


def names(folders: Iterable[Path] = ()) -> list[str]:
    """The lab's schedules, and those of a user's own folders of options."""
    return sorted({file.stem for folder in (conf.conf_dir(), *folders) for file in (folder / GROUP).glob("*.yaml")})


def load(name: str, folders: Iterable[Path] = ()) -> Schedule:
    """schedule/<name>.yaml of the lab's conf/ or of a user's own folder of options.

    Raises UserError for what is no schedule: an unknown key, an id that is no name or stands twice.
    """
    files = [folder / GROUP / f"{name}.yaml" for folder in (conf.conf_dir(), *folders)]
    there = [file for file in files if file.is_file()]
    if len(there) > 1:
        raise UserError(f"schedule={name} stands in {there[0]} and in {there[1]}; give one of them another name.")
    return read(there[0] if there else files[0])


def read(file: Path) -> Schedule:
    """A schedule's file; see load."""
    name, table = file.stem, places.read(file)
    node = table.node
    known = [f.name for f in dataclasses.fields(Schedule) if f.name != "name"]
    if not isinstance(node, dict) or not isinstance(node.get("rows"), list) or not node["rows"]:
        raise UserError(f"{table.place('rows')} has no rows; write them as conf/schedule/smoke.yaml does.")
    for key in node:
        if key not in known:
            raise UserError(f"{table.place(str(key))}: {binding.unknown_key(str(key), known)}")
    for key in ("common", "best"):
        if key in node:
            binding.check(
                {key: node[key]}, Schedule, f"{table.place(key)}: schedule {name}", ("name", "rows", "scales")
            )
    rows = [_row(entry, table.row_place(number)) for number, entry in enumerate(node["rows"])]
    ids = [row.id for row in rows]
    twice = [row for number, row in enumerate(rows) if row.id in ids[:number]]
    if twice:
        raise UserError(
            f"{twice[0].place}: schedule={name} has several rows called {twice[0].id}; give each row an id of its own."
        )
    return Schedule(
        name,
        rows,
        conf.spell_out(node.get("common", [])),
        _scales(node.get("scales"), rows, table.place("scales")),
        node.get("best", "passed"),
    )


def _row(entry: Any, place: str) -> Row:
    known = ("id", "week", "phase", "from", "overrides")
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise UserError(f"{place} has a row without an id: {entry!r}; give it one.")
    path = f"{place}, row {entry['id']}"
    for key in entry:
        if key not in known:
            raise UserError(f"{path}: {binding.unknown_key(str(key), known)}")
    if not ID.fullmatch(entry["id"]):
        raise UserError(f"{path}: an id is a letter and then letters, digits and _ . -; it names a folder.")
    source = entry.get("from")
    if source is not None and not BEST.fullmatch(str(source)):
        raise UserError(f"{path}: from={source} does not exist; choose best1, best2 or best3.")
    week = entry.get("week", 1)
    values = {
        "id": entry["id"],
        "week": week,
        "phase": entry.get("phase", week),
        "overrides": entry.get("overrides", []),
        "source": source,
    }
    row: Row = binding.dataclass_from(Row, values, path)
    return replace(row, overrides=conf.spell_out(row.overrides), place=place)


def _scales(entries: Any, rows: Iterable[Row], place: str) -> dict[str, Scale]:
    entries = {} if entries is None else entries
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError(f"{place}: scales={entries!r} does not fit; write NAME: {{set: [], times: {{}}}}.")
    by_name = {key: scales.read(entry, f"{place}: scales.{key}") for key, entry in entries.items()}
    own = [row.id for row in rows if row.source is None]
    for key, scale in by_name.items():
        scales.check_exceptions(scale, own, f"{place}: scales.{key}")
    return by_name
