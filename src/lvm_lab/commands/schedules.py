"""What a command with a schedule does: show a row's config, list the rows, run one, or run many; no torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from lvm_lab.commands import composing, rows
from lvm_lab.commands.arguments import MULTIRUN
from lvm_lab.config import binding
from lvm_lab.errors import UserError
from lvm_lab.reporting import sweep as sweep_tables
from lvm_lab.sweeps import schedule
from lvm_lab.sweeps.plan import Weigh
from lvm_lab.sweeps.sweep import Failure, Sweep

# Flags with which nothing runs.
SHOWS = ("--help", "-h", "--hydra-help", "--info")
# A row's folder is its own; the sweep's is schedule.dir.
REFUSED = ("run.dir", "hydra.sweep.dir")


def run(
    request: schedule.Request,
    arguments: Sequence[str],
    hydra: Callable[[Sequence[str]], list[Failure]],
    weigh: Weigh | None = None,
) -> list[Failure]:
    """Do what a command with a schedule asks for; what failed comes back.

    arguments: the command's others, which every row gets. hydra: has Hydra run a command line. weigh: how much work a
    run is, for a dry run at a scale that asks for it. Raises UserError before anything runs.
    """
    others = tuple(a for a in arguments if a not in MULTIRUN)
    for key in REFUSED:
        if any(a.lstrip("+").startswith(f"{key}=") for a in others):
            raise UserError(f"{key} is a row's own in a schedule; set schedule.dir instead.")
    launcher = rows.HydraLauncher(others, hydra)
    table = schedule.load(request.name, composing.own_folders(arguments))
    scaled = table.scaled(request.scale, lambda row: rows.compose(row, rows.searched(arguments)))
    sweep = Sweep(request, scaled, launcher, force="run.force=true" in others)
    if any(a.startswith(SHOWS) for a in arguments):
        return hydra(arguments)
    if any(a.startswith("--cfg=") for a in arguments):
        return launcher.launch_one(sweep.one(write=False), sweep.folder)
    if request.dry_run:
        sweep.check()
        weighs = request.scale is not None and table.scales[request.scale].work
        sweep_tables.show(request.name, sweep.folder, sweep.forecast(weigh if weighs else None))
        return []
    if len(arguments) == len(others):
        row = sweep.one()
        sweep.check()
        sweep.write_table()
        return launcher.launch_one(row, sweep.folder)
    return sweep.run()


def split(arguments: Sequence[str]) -> tuple[schedule.Request | None, list[str]]:
    """(what a command says of a schedule, its other arguments).

    Raises UserError for what cannot be said of a schedule.
    """
    own = [a for a in arguments if re.match(r"schedule[=.]", a) or re.match(r"\+?run_id=", a)]
    others = [a for a in arguments if a not in own]
    if not own:
        return None, others
    values = {key.lstrip("+"): value for key, _, value in (a.partition("=") for a in own)}
    names = schedule.names(composing.own_folders(arguments))
    name = values.pop("schedule", None)
    if name is None:
        raise UserError(f"{own[0]} needs a schedule; add schedule=NAME, one of {', '.join(names)}.")
    if name not in names:
        raise UserError(f"schedule={name} does not exist; choose one of {', '.join(names)}.")
    ids = [i for i in values.pop("run_id", "").split(",") if i]
    settings = {key.removeprefix("schedule."): _plain(value) for key, value in values.items()}
    keys = [f.name for f in dataclasses.fields(schedule.Request) if f.name not in ("name", "ids")]
    for key in settings:
        if key not in keys:
            raise UserError(binding.unknown_key(f"schedule.{key}", keys))
    return binding.dataclass_from(schedule.Request, {"name": name, "ids": ids, **settings}, "schedule"), others


def _plain(text: str) -> Any:
    """A value as it is typed on the command line."""
    words = {"null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    return int(text) if re.fullmatch(r"\d+", text) else text.strip("'\"")
