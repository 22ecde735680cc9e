"""What can be wrong with the jobs of a multirun together, told before any of them starts; no torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands.arguments import VALUE_FLAGS
from lvm_lab.commands.composing import compose
from lvm_lab.commands.schedules import HELP, MULTIRUN, SHOW
from lvm_lab.errors import UserError


def check_folders(config_name: str, arguments: Sequence[str]) -> None:
    """UserError where two jobs of a multirun would work in one folder, so that the last took the place of the others.

    What Hydra will refuse is left to it.
    """
    if config_name != "train" or not {*MULTIRUN} & {*arguments} or {*HELP, *SHOW} & {*arguments}:
        return
    try:
        own = tuple(f"file://{Path(folder).absolute()}" for folder in _own_folders(arguments))
        searched = [f"hydra.searchpath=[{','.join(own)}]"] if own else []
        jobs = [[*job, *searched] for job in _jobs(_settings(arguments))]
        if len(jobs) < 2:
            return
        raw = _folder(config_name, jobs[0], resolved=False)
        folders = [raw] * len(jobs)
        if raw is None or "${" in raw or any(o.startswith("run.dir=") for o in set(jobs[0]) - set(jobs[-1])):
            folders = [_folder(config_name, job, resolved=True) for job in jobs] if raw is not None else []
    except (HydraException, OmegaConfBaseException):
        return
    for place, folder in enumerate(folders):
        if folder is not None and folder in folders[:place]:
            raise UserError(
                f"run.dir={folder} is the folder of several of these {len(jobs)} runs; leave run.dir out, so that each "
                "has its own, or put what differs into it, such as run.dir='outputs/${seed}'."
            )


def _settings(arguments: Sequence[str]) -> list[str]:
    """The arguments that are settings: neither flags nor flags' values, and Hydra's own left out."""
    before = ["", *arguments]
    return [
        argument
        for flag, argument in zip(before, arguments, strict=False)
        if not argument.startswith("-") and flag not in VALUE_FLAGS and not argument.lstrip("+").startswith("hydra")
    ]


def _own_folders(arguments: Sequence[str]) -> list[str]:
    """The folders of --config-dir, whose options Hydra finds too."""
    words = [word for argument in arguments for word in argument.split("=", 1)] + [""]
    return [folder for flag, folder in itertools.pairwise(words) if flag in ("--config-dir", "-cd")]


def _jobs(settings: list[str]) -> list[list[str]]:
    """Each job's settings, as Hydra's own sweeper multiplies them out."""
    choices: list[list[str]] = []
    for one in OverridesParser.create().parse_overrides(settings):
        if one.is_discrete_sweep():
            key = one.get_key_element()
            choices.append([f"{key}={value}" for value in one.sweep_string_iterator()])
        else:
            choices.append([str(one.input_line)])
    return [list(job) for job in itertools.product(*choices)]


def _folder(config_name: str, settings: list[str], resolved: bool) -> str | None:
    folder = compose(config_name, settings, resolved)["run"]["dir"]
    return None if folder is None else str(folder)
