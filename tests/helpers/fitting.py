"""A training in this process without its scoring, ended at a batch, and whether two of them are the same bit by bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from torch import Tensor

from helpers.commands import rows, timeless
from lvm_lab.build.training import prepare
from lvm_lab.config.conf import conf_dir
from lvm_lab.config.settings import Settings, settings
from lvm_lab.errors import Terminated
from lvm_lab.jobs import session
from lvm_lab.runs import folder as runs
from lvm_lab.training.module import LatentVectorModule

# Dropout and hard negatives draw random numbers. Ten batches an epoch.
TINY = (
    "data.dim=32",
    "data.documents=60",
    "data.ood_documents=12",
    "data.planes=4",
    "data.topic_dims=4",
    "trainer.batch_size=64",
    "trainer.max_epochs=2",
    "five_cat=off",
    "logger=none",
    "device=cpu",
    "device.threads=1",
)
GRU = ("arch=gru", "arch.width=16", "arch.dropout=0.2", "loss.negatives=2")
BATCHES = 10
# Of what a last.ckpt holds, all that a training goes on with.
HELD = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "ema", "epoch", "global_step")


def typed(*overrides: str) -> Settings:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = OmegaConf.to_container(compose("train", overrides=[*TINY, *overrides]), resolve=True)
    return settings(composed)  # type: ignore[arg-type]


def fit(folder: Path, *overrides: str) -> Path:
    """Train in `folder`, or go on there; the folder."""
    chosen = typed(f"run.dir={folder}", f"run.cache={folder.parent / 'cache'}", *overrides)
    data, module, content, notes = prepare(chosen)
    claimed = runs.claim(chosen.config, content, directory=str(folder), root=folder.parent, force=False)
    with claimed as run, session.Session(chosen, data, run, Console(quiet=True), notes) as work:
        work.fit(module)
    return folder


def cut_off(folder: Path, step: int, by: int, *overrides: str) -> Path:
    """A training in `folder` to which the signal comes in the training step of that number, counted from 1 over all
    epochs of this session; the folder."""
    error = Terminated if by == signal.SIGTERM else KeyboardInterrupt
    with pytest.MonkeyPatch.context() as patch:
        _end_at(patch, step, by)
        with pytest.raises(KeyboardInterrupt) as raised:
            fit(folder, *overrides)
    assert raised.type is error
    assert not (folder / "result.json").exists()
    return folder


def _end_at(patch: pytest.MonkeyPatch, step: int, by: int) -> None:
    inner, steps = LatentVectorModule.training_step, iter(range(1, 1_000_000))

    def training_step(self: LatentVectorModule, batch: Any, batch_idx: int) -> Any:
        if next(steps) == step:
            os.kill(os.getpid(), by)
            if by == signal.SIGINT:
                raise KeyboardInterrupt
        return inner(self, batch, batch_idx)

    patch.setattr(LatentVectorModule, "training_step", training_step)


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]


def check_same(folder: Path, unbroken: Path) -> None:
    """The same history, and checkpoints with the same numbers in them."""
    assert timeless(rows(folder)) == timeless(rows(unbroken))
    files = sorted(file.name for file in (unbroken / "checkpoints").iterdir())
    assert sorted(file.name for file in (folder / "checkpoints").iterdir()) == files
    for name in files:
        ours, theirs = (torch.load(f / "checkpoints" / name, weights_only=True) for f in (folder, unbroken))
        for key in HELD:
            check_equal(ours.get(key), theirs.get(key), f"{name}: {key}")


def check_equal(ours: Any, theirs: Any, place: str) -> None:
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), place
        for key, value in theirs.items():
            check_equal(ours[key], value, f"{place}.{key}")
    elif isinstance(theirs, Tensor):
        assert torch.equal(ours, theirs), place
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), place
        for i, value in enumerate(theirs):
            check_equal(ours[i], value, f"{place}[{i}]")
    else:
        assert ours == theirs, place
