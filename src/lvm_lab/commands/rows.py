"""A schedule's rows by Hydra's rules: composed to configs, made options of a group, launched; no torch."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands import composing
from lvm_lab.commands.values import quoted
from lvm_lab.config import conf
from lvm_lab.errors import UserError
from lvm_lab.sweeps.schedule import Row
from lvm_lab.sweeps.sweep import Failure

GROUP = "run_id"


@dataclass(frozen=True)
class HydraLauncher:
    """What a sweep needs of Hydra. arguments: what the command says besides of its schedule, -m aside.

    hydra: has Hydra run a command line; what failed in a multirun comes back.
    """

    arguments: tuple[str, ...]
    hydra: Callable[[Sequence[str]], list[Failure]]

    def compose(self, row: Row) -> dict[str, Any]:
        return compose(row, [*searched(self.arguments), *own_settings(self.arguments)])

    def launch(self, rows: Sequence[Row], folder: Path) -> list[Failure]:
        for row in rows:
            register(row, folder)
        choice = f"+{GROUP}={','.join(row.id for row in rows)}"
        arguments = ["-m", *self.arguments, choice, f"hydra.sweep.dir={quoted(str(folder))}"]
        try:
            return self.hydra(arguments)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(composing.explain(error, "train", self.arguments)) from error

    def launch_one(self, row: Row, folder: Path) -> list[Failure]:
        """Run a row in this process, or do with it what the arguments say, such as --cfg job."""
        register(row, folder)
        return self.hydra([*self.arguments, f"+{GROUP}={row.id}"])


def own_settings(arguments: Sequence[str]) -> list[str]:
    """The arguments that are settings of a run: neither flags nor Hydra's own."""
    return [a for a in arguments if not a.startswith("-") and not re.match(r"\+*hydra[./]", a)]


def searched(arguments: Sequence[str]) -> list[str]:
    """A command's --config-dir as the setting by which Hydra's compose finds the options in it."""
    folders = [quoted(f"file://{folder.absolute()}") for folder in composing.own_folders(arguments)]
    return [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []


def compose(row: Row, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The config that a row's overrides and a command's further settings compose to, by Hydra's own rules.

    Raises UserError for an unknown option, key or form of an override, before anything runs.
    """
    options, values = _parse(row)
    try:
        config = _with_options(tuple(f"{group}={option}" for group, option in options.items()), tuple(settings))
    except (HydraException, OmegaConfBaseException) as error:
        sentence = composing.explain(error, "train", [*row.overrides, *settings])
        raise UserError(row.refusal(sentence)) from error
    # What the command says stands after the row.
    overruled = {setting.partition("=")[0] for setting in settings}
    for key, value in values.items():
        missing = composing.missing_key(key, config)
        if missing:
            raise UserError(row.refusal(conf.spell_back(missing)))
        if key not in overruled:
            config = _put(config, key.split("."), value)
    # Only now: a reference takes what the row says.
    return composing.resolve(config)


def register(row: Row, folder: Path) -> None:
    """Make a row an option of the group run_id, which Hydra then composes, shows and launches like any other."""
    options, values = _parse(row)
    node: dict[str, Any] = {"run": {"dir": str(folder / row.id)}}
    for key, value in values.items():
        node = _put(node, key.split("."), value)
    defaults = [*({f"override /{group}": option} for group, option in options.items()), "_self_"]
    ConfigStore.instance().store(
        group=GROUP, name=row.id, node={"defaults": defaults, **node}, package="_global_", provider="schedule"
    )


def _parse(row: Row) -> tuple[dict[str, str], dict[str, Any]]:
    """(options by group, values by dotted key)."""
    groups = conf.groups()
    options: dict[str, str] = {}
    values: dict[str, Any] = {}
    for one in _overrides(row):
        key = one.key_or_group
        if one.is_sweep_override() or one.is_add() or one.is_delete() or one.package is not None or key == "run.dir":
            raise UserError(row.refusal(f"{one.input_line} cannot stand in a row; write group=option or key=value."))
        (options if key in groups else values)[key] = one.value()  # type: ignore[assignment]
    return options, values


def _overrides(row: Row) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(row.overrides)
    except HydraException as error:
        raise UserError(row.refusal(composing.explain(error, "train", row.overrides))) from error


@functools.cache
def _with_options(options: tuple[str, ...], settings: tuple[str, ...]) -> dict[str, Any]:
    """Rows with the same options share this, since composing takes a tenth of a second."""
    return composing.compose("train", [*options, *settings], resolved=False)


def _put(node: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """A copy of `node` with one value set."""
    first, *rest = path
    return node | {first: _put(node.get(first) or {}, rest, value) if rest else value}
