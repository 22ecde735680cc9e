"""What can be wrong with the jobs of a multirun together, told before any of them starts; no torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lvm_lab.commands import sweepers
from lvm_lab.commands.arguments import MULTIRUN
from lvm_lab.commands.composing import compose
from lvm_lab.commands.rows import own_settings, searched
from lvm_lab.commands.schedules import SHOWS
from lvm_lab.errors import UserError


def check_folders(config_name: str, arguments: Sequence[str]) -> None:
    """UserError where two jobs of a multirun would work in one folder, so that the last took the place of the others.

    What Hydra will refuse is left to it.
    """
    if (
        config_name != "train"
        or not {*MULTIRUN} & {*arguments}
        or any(a.startswith((*SHOWS, "--cfg=")) for a in arguments)
    ):
        return
    optimiser = sweepers.named(arguments) is not None
    settings = [*searched(arguments), *own_settings(arguments)]
    try:
        jobs = _neighbours(settings) if optimiser else _jobs(settings)
        if len(jobs) < 2 and not optimiser:
            return
        raw = _folder(config_name, jobs[0], resolved=False)
        # What a sweeper's own node has it search does not stand among the settings.
        folders = [raw] * max(2, len(jobs))
        if raw is None or "${" in raw or any(o.startswith("run.dir=") for o in set(jobs[0]) - set(jobs[-1])):
            folders = [_folder(config_name, job, resolved=True) for job in jobs] if raw is not None else []
    except (HydraException, OmegaConfBaseException):
        return
    for place, folder in enumerate(folders):
        if folder is not None and folder in folders[:place]:
            raise UserError(
                f"run.dir={folder} is the folder of several of these {len(folders)} runs; leave run.dir out, so that "
                "each has its own, or put what differs into it, such as run.dir='outputs/${seed}'."
            )


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


def _neighbours(settings: list[str]) -> list[list[str]]:
    """A job of an optimiser's, and for each setting that it searches one that differs in that alone.

    It may search more values than can be multiplied out, and two folders are one where a setting that is searched
    leaves them so.
    """
    pairs: list[list[str]] = []
    for one in OverridesParser.create().parse_overrides(settings):
        key, value = one.get_key_element(), one.value()
        if isinstance(value, IntervalSweep):
            pairs.append([f"{key}={value.start}", f"{key}={value.end}"])
        elif one.is_discrete_sweep():
            pairs.append([f"{key}={text}" for text in itertools.islice(one.sweep_string_iterator(), 2)])
        else:
            pairs.append([str(one.input_line)])
    first = [pair[0] for pair in pairs]
    others = [[*first[:place], pair[1], *first[place + 1 :]] for place, pair in enumerate(pairs) if len(pair) > 1]
    return [first, *others]


def _folder(config_name: str, settings: list[str], resolved: bool) -> str | None:
    folder = compose(config_name, settings, resolved)["run"]["dir"]
    return None if folder is None else str(folder)
