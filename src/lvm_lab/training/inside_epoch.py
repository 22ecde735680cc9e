"""What a training inside an epoch hangs on, beside weights and optimiser: its place, random states, running sums."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from lvm_lab.training._lightning import pl
from lvm_lab.training.module import LatentVectorModule

# Where a checkpoint that was written inside an epoch holds it; one of an epoch's end has nothing there.
KEY = "inside_epoch"


class Progress(NamedTuple):
    """How far a training was: whole epochs, batches of the next one, and the seconds that those took."""

    epochs: int
    batches: int
    seconds: float


def progress(checkpoint: Mapping[str, Any]) -> Progress:
    """How far the training was that wrote a last.ckpt."""
    inside = checkpoint.get(KEY)
    if inside is None:
        return Progress(int(checkpoint["epoch"]) + 1, 0, 0.0)
    return Progress(int(checkpoint["epoch"]), inside["batches"], inside["seconds"])


def is_inside(trainer: pl.Trainer) -> bool:
    epochs = trainer.fit_loop.epoch_progress.current
    return epochs.processed < epochs.started  # type: ignore[attr-defined]


def state(trainer: pl.Trainer, module: LatentVectorModule, seconds: float) -> dict[str, Any]:
    """What `restore` needs, of every device; all have to call it at once. seconds: since the epoch began."""
    own = {"random": _random_states(module.device), "module": module.epoch_state()}
    ranks: list[Any] = [own]
    if trainer.world_size > 1:
        ranks = [None] * trainer.world_size
        dist.all_gather_object(ranks, own)
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return {"batches": batches, "seconds": seconds, "ranks": ranks}


def restore(inside: dict[str, Any], trainer: pl.Trainer, module: LatentVectorModule) -> bool:
    """Put what `state` has into this process; whether its random states could be.

    Those of another number or another kind of devices cannot. What was summed is then shared evenly.
    """
    ranks = inside["ranks"]
    alike = len(ranks) == trainer.world_size
    parts = [ranks[trainer.global_rank]] if alike else ranks
    module.load_epoch_state([part["module"] for part in parts])
    states = parts[0]["random"]
    alike = alike and states["device"][0] == module.device.type
    if alike:
        _set_random_states(states, module.device)
    return alike


@contextmanager
def drawing_nothing(device: torch.device) -> Iterator[None]:
    """Random states are afterwards what they were before."""
    states = _random_states(device)
    try:
        yield
    finally:
        _set_random_states(states, device)


def _random_states(device: torch.device) -> dict[str, Any]:
    """In what the weights-only unpickler reads."""
    # A user's own part may draw from the global generator, which seeding an epoch seeds.
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    on_device = None
    if device.type == "cuda":
        on_device = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        on_device = torch.mps.get_rng_state()
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "device": (device.type, on_device),
    }


def _set_random_states(states: dict[str, Any], device: torch.device) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    kind, on_device = states["device"]
    if kind == "cuda":
        torch.cuda.set_rng_state(on_device.cpu(), device)
    elif kind == "mps":
        torch.mps.set_rng_state(on_device.cpu())
