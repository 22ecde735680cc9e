"""Reseeds every epoch from (seed, epoch), so that a resumed run draws what an unbroken one would have drawn.

One that is resumed inside an epoch gets back the place, the random states and the sums that it had there.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lvm_lab.training import inside_epoch
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule


class Reseed(Callback):
    priority = 0  # first: whatever draws a random number in the epoch comes after

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.started = 0.0
        self.inside: dict[str, Any] | None = None

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: LatentVectorModule, checkpoint: dict[str, Any]
    ) -> None:
        if inside_epoch.is_inside(trainer):
            seconds = time.perf_counter() - self.started
            checkpoint[inside_epoch.KEY] = inside_epoch.state(trainer, pl_module, seconds)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.inside = checkpoint.get(inside_epoch.KEY)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.inside is not None:
            self.started = time.perf_counter() - self.inside["seconds"]
            trainer.datamodule.skip(self.inside["batches"])  # type: ignore[attr-defined]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()
        self._seed(trainer.current_epoch, trainer.global_rank)

    def on_train_batch_start(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: LatentVectorModule, *_: Any
    ) -> None:
        inside, self.inside = self.inside, None
        # Now and no earlier: what else begins with the training may have drawn.
        if inside is not None and not inside_epoch.restore(inside, trainer, pl_module):
            self._seed(trainer.current_epoch, trainer.global_rank, inside["batches"])

    def _seed(self, *place: int) -> None:
        # Ranks differ, or dropout would drop the same units on every device.
        words = np.random.SeedSequence([self.seed, *place]).generate_state(1)
        pl.seed_everything(int(words[0]), verbose=False)
