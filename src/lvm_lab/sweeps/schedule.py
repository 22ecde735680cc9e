"""Tables of runs: one row a run, read from conf/schedule/, scaled, chosen from, made options of a group; no torch."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands import composing
from lvm_lab.config import binding, conf
from lvm_lab.errors import UserError

GROUP = "run_id"
TOP = "top3"
BEST = re.compile(r"best([123])")
ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Asked:
    """What a command says of a schedule: schedule=NAME, schedule.KEY=VALUE and run_id=NAME.

    week, only (globs, by commas) and ids choose rows; dry_run lists and runs nothing; scale is one of
    the table's; dir is the sweep's folder (null: multirun/<name>, or multirun/<name>-<scale>). best:
    passed lets only runs that pass their preset on VAL become best, any takes what there is (null:
    what the table says).
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
    """One run. source: best1 to best3, the earlier run whose settings come first, or nothing."""

    id: str
    week: int
    phase: int
    overrides: list[str]
    source: str | None = None

    @property
    def waits(self) -> bool:
        """Whether it refers to the leaderboard."""
        return self.source is not None or f"arch.members={TOP}" in self.overrides


@dataclass(frozen=True)
class Scale:
    """set: overrides of every row; times: factors of numbers, where a row's model has them."""

    set: list[str]
    times: dict[str, float]


@dataclass(frozen=True)
class Table:
    """A schedule. Phases run one after the other; common stands before every row's own overrides."""

    name: str
    rows: list[Row]
    common: list[str] = field(default_factory=list)
    scales: dict[str, Scale] = field(default_factory=dict)
    best: Literal["passed", "any"] = "passed"

    def scaled(self, name: str | None) -> Table:
        """The table with every row's overrides written out: the common ones, the scale's, its own.

        Raises UserError for a scale that the table does not have.
        """
        if name is not None and name not in self.scales:
            there = f"there is {', '.join(self.scales)}" if self.scales else "it has none"
            raise UserError(f"schedule={self.name} has no scale {name}; {there}.")
        scale = self.scales[name] if name else Scale([], {})
        return replace(self, rows=[self._written_out(row, scale) for row in self.rows], common=[])

    def select(self, asked: Asked) -> list[Row]:
        """The rows that a command asks for.

        Raises UserError where it names a row that does not exist, or none is left.
        """
        known = [row.id for row in self.rows]
        for wanted in asked.ids:
            if wanted not in known:
                close = difflib.get_close_matches(wanted, known, n=1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise UserError(
                    f"run_id={wanted} is no row of schedule={self.name}{meant}; schedule.dry_run=true lists its rows."
                )
        globs = asked.only.split(",") if asked.only else ["*"]
        chosen = [
            row
            for row in self.rows
            if (not asked.ids or row.id in asked.ids)
            and asked.week in (None, row.week)
            and any(fnmatch.fnmatchcase(row.id, glob.strip()) for glob in globs)
        ]
        if not chosen:
            weeks = ", ".join(map(str, sorted({row.week for row in self.rows})))
            raise UserError(
                f"no row of schedule={self.name} is asked for; its weeks are {weeks}, its first row is {known[0]}."
            )
        return chosen

    def earlier(self, row: Row) -> list[Row]:
        """The rows that a row's leaderboard is made of."""
        return [other for other in self.rows if other.phase < row.phase]

    def _written_out(self, row: Row, scale: Scale) -> Row:
        if row.source is not None:
            # It copies the settings of a row that is written out already.
            return row
        overrides = merged([*self.common, *scale.set, *row.overrides])
        if not scale.times:
            return replace(row, overrides=overrides)
        config = config_of(row.id, tuple(overrides))
        for key, factor in scale.times.items():
            if composing.missing_key(key, config) is None:
                overrides = merged([*overrides, f"{key}={_times(_value(config, key), factor)}"])
        return replace(row, overrides=overrides)


def taken_from(arguments: Sequence[str]) -> tuple[Asked | None, list[str]]:
    """(what a command says of a schedule, its other arguments).

    Raises UserError for what cannot be said of a schedule.
    """
    ours = [a for a in arguments if re.match(r"schedule[=.]", a) or re.match(r"\+?run_id=", a)]
    rest = [a for a in arguments if a not in ours]
    if not ours:
        return None, rest
    said = {key.lstrip("+"): value for key, _, value in (a.partition("=") for a in ours)}
    name = said.pop("schedule", None)
    if name is None:
        raise UserError(f"{ours[0]} needs a schedule; add schedule=NAME, one of {', '.join(names())}.")
    if name not in names():
        raise UserError(f"schedule={name} does not exist; choose one of {', '.join(names())}.")
    ids = [i for i in said.pop("run_id", "").split(",") if i]
    keys = [f.name for f in dataclasses.fields(Asked) if f.name not in ("name", "ids")]
    values = {key.removeprefix("schedule."): _plain(value) for key, value in said.items()}
    for key in values:
        if key not in keys:
            raise UserError(binding.unknown_key(f"schedule.{key}", keys))
    return binding.dataclass_from(Asked, {"name": name, "ids": ids, **values}, "schedule"), rest


def names() -> list[str]:
    return sorted(file.stem for file in (conf.conf_dir() / "schedule").glob("*.yaml"))


def load(name: str) -> Table:
    """conf/schedule/<name>.yaml.

    Raises UserError for what is no table: an unknown key, an id that is no name or stands twice.
    """
    return read(conf.conf_dir() / "schedule" / f"{name}.yaml")


def read(file: Path) -> Table:
    """A table's file; see load."""
    name = file.stem
    try:
        node = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML ({str(error).splitlines()[0]}); mend it.") from error
    known = [f.name for f in dataclasses.fields(Table) if f.name != "name"]
    if not isinstance(node, dict) or not isinstance(node.get("rows"), list) or not node["rows"]:
        raise UserError(f"{file} has no rows; write them as conf/schedule/smoke.yaml does.")
    for key in node:
        if key not in known:
            raise UserError(f"{file}: {binding.unknown_key(str(key), known)}")
    plain = {key: node[key] for key in ("common", "best") if key in node}
    binding.check(plain, Table, f"schedule {name}", ("name", "rows", "scales"))
    rows = [_row(said, name) for said in node["rows"]]
    twice = sorted({row.id for row in rows if sum(other.id == row.id for other in rows) > 1})
    if twice:
        raise UserError(f"schedule={name} has several rows called {twice[0]}; give each row an id of its own.")
    scales = {
        key: binding.dataclass_from(Scale, {"set": [], "times": {}} | said, f"scales.{key}")
        for key, said in node.get("scales", {}).items()
    }
    scales = {key: Scale(conf.spell_out(scale.set), scale.times) for key, scale in scales.items()}
    common = conf.spell_out(node.get("common", []))
    return Table(name, rows, common, scales, node.get("best", "passed"))


def config_of(row_id: str, overrides: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, Any]:
    """The config that a row's overrides and a command's further settings compose to, by Hydra's own rules.

    Raises UserError for an unknown option, key or form of an override, before anything runs.
    """
    choices, values = _parsed(row_id, overrides)
    try:
        config = _with_options(tuple(f"{group}={option}" for group, option in choices.items()), more)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"row {row_id}: {composing.explain(error, 'train', [*overrides, *more])}") from error
    # What the command says stands after the row.
    said = {a.partition("=")[0] for a in more}
    for key, value in values.items():
        missing = composing.missing_key(key, config)
        if missing:
            raise UserError(f"row {row_id}: {missing}")
        if key not in said:
            config = _put(config, key.split("."), value)
    # Only now: a reference takes what the row says.
    return composing.resolved(config)


def register(row: Row, folder: Path) -> None:
    """Make a row an option of the group run_id, which Hydra then composes, shows and launches like any other."""
    choices, values = _parsed(row.id, tuple(row.overrides))
    node: dict[str, Any] = {"run": {"dir": str(folder / row.id)}}
    for key, value in values.items():
        node = _put(node, key.split("."), value)
    defaults = [*({f"override /{group}": option} for group, option in choices.items()), "_self_"]
    ConfigStore.instance().store(
        group=GROUP, name=row.id, node={"defaults": defaults, **node}, package="_global_", provider="schedule"
    )


def merged(overrides: Iterable[str]) -> list[str]:
    """Overrides with each key once, the later value standing; an option chosen anew drops nothing else."""
    return list({o.partition("=")[0]: o for o in overrides}.values())


def _row(said: Any, name: str) -> Row:
    known = ("id", "week", "phase", "from", "overrides")
    if not isinstance(said, dict) or not isinstance(said.get("id"), str):
        raise UserError(f"schedule={name} has a row without an id: {said!r}; give it one.")
    row = f"row {said['id']}"
    for key in said:
        if key not in known:
            raise UserError(f"{row}: {binding.unknown_key(str(key), known)}")
    if not ID.fullmatch(said["id"]):
        raise UserError(f"{row}: an id is a letter and then letters, digits and _ . -; it names a folder.")
    source = said.get("from")
    if source is not None and not BEST.fullmatch(str(source)):
        raise UserError(f"{row}: from={source} does not exist; choose best1, best2 or best3.")
    week = said.get("week", 1)
    values = {
        "id": said["id"],
        "week": week,
        "phase": said.get("phase", week),
        "overrides": said.get("overrides", []),
        "source": source,
    }
    made: Row = binding.dataclass_from(Row, values, row)
    return replace(made, overrides=conf.spell_out(made.overrides))


def _parsed(row_id: str, overrides: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Any]]:
    """(options by group, values by dotted key)."""
    groups = conf.groups()
    choices: dict[str, str] = {}
    values: dict[str, Any] = {}
    for one in _overrides(row_id, overrides):
        key = one.key_or_group
        if one.is_sweep_override() or one.is_add() or one.is_delete() or one.package is not None or key == "run.dir":
            raise UserError(f"row {row_id}: {one.input_line} cannot stand in a row; write group=option or key=value.")
        (choices if key in groups else values)[key] = one.value()  # type: ignore[assignment]
    return choices, values


def _overrides(row_id: str, overrides: tuple[str, ...]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UserError(f"row {row_id}: {composing.explain(error, 'train', overrides)}") from error


@functools.cache
def _with_options(options: tuple[str, ...], more: tuple[str, ...]) -> dict[str, Any]:
    """Rows with the same options share this, since composing takes a tenth of a second."""
    return composing.composed("train", [*options, *more], resolve=False)


def _put(node: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """A copy of `node` with one value set."""
    first, *rest = path
    return node | {first: _put(node.get(first) or {}, rest, value) if rest else value}


def _value(config: dict[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node[name]
    return node


def _times(value: float, factor: float) -> float:
    """Whole numbers stay whole, rounded half up, and at least 1."""
    return max(1, math.floor(value * factor + 0.5)) if isinstance(value, int) else value * factor


def _plain(text: str) -> Any:
    """A value as it is typed on the command line."""
    words = {"null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    return int(text) if re.fullmatch(r"\d+", text) else text.strip("'\"")
