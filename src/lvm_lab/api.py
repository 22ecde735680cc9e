"""The commands as functions: `from lvm_lab.jobs import train, evaluate, predict`; settings in, result out."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvm_lab.commands import helping
from lvm_lab.commands.arguments import Files, sort
from lvm_lab.commands.guest import from_python, guest
from lvm_lab.errors import UserError
from lvm_lab.jobs.prediction import predict as predict
from lvm_lab.runs import reading

Settings = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def train(*settings: Settings, config_dir: str | Path | None = None) -> reading.Run:
    """One run with these settings, `train("arch=gru", "loss=infonce")`, one by one or as lists: trained, gone on with,
    or as it is where it is finished.

    `run.folder` is its folder, `run.result` what it recorded, `run.checkpoint` what `lvm_lab.load` takes. config_dir:
    options of your own. Raises UserError for what the command would refuse.
    """
    # What libraries set as they are imported stays.
    from lvm_lab.jobs import session, training  # noqa: F401

    with guest(), _torch_kept():
        line = sort(_words(settings))
        config = from_python("train", line, None, _text(config_dir))
        if config["device"].get("devices") != 1:
            raise UserError("several devices need a process each, which the command line starts; set device.devices=1.")
        result = training.train(config)
        return reading.read(Path(config["run"]["dir"] or Path(config["run"]["root"], result.name)))


def evaluate(*models: Settings, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Checkpoints, run folders and patterns judged, `evaluate(run.folder, "ood=[novels.npz]")`, settings among them.

    What comes back is what the command writes to evaluation.json; tables are written where `out=FOLDER` is given.
    Raises UserError for what the command would refuse.
    """
    from lvm_lab import logs
    from lvm_lab.config.evaluation import EvaluationSettings
    from lvm_lab.jobs import evaluation
    from lvm_lab.reporting import evaluation as evaluation_report

    with guest(), _torch_kept():
        line = sort(_words(models), helping.keys("evaluate"))
        writes = any(setting.startswith("out=") for setting in line.settings)
        config = from_python("evaluate", line, Files("checkpoints"), _text(config_dir))
        logs.to_terminal()
        typed = EvaluationSettings.from_dict(config)
        report = evaluation.evaluate(typed)
        if writes:
            evaluation_report.write(report, Path(typed.out))
        return report


def _words(settings: Iterable[Settings]) -> list[str]:
    """Settings in one list. A path that is no text is a file, whatever it is called."""
    words: list[str] = []
    for one in settings:
        if isinstance(one, str):
            words.append(one)
        elif isinstance(one, os.PathLike):
            path = os.fspath(one)
            words.append(path if os.path.isabs(path) else os.path.join(".", path))
        else:
            words += _words(one)
    return words


def _text(path: str | Path | None) -> str | None:
    return None if path is None else os.path.expanduser(path)


@contextmanager
def _torch_kept() -> Iterator[None]:
    """A run's threads and seed are its own: the caller's random numbers go on as if there had been none."""
    import numpy as np
    import torch

    threads, seed, seed_of_numpy = torch.get_num_threads(), random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        random.setstate(seed)
        np.random.set_state(seed_of_numpy)  # noqa: NPY002
