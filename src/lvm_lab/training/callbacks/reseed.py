"""Reseeds every epoch from (seed, epoch), so that a resumed run draws what an unbroken one would have drawn."""

from __future__ import annotations

import numpy as np

from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback


class Reseed(Callback):
    priority = 0  # first: whatever draws a random number in the epoch comes after

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Ranks differ, or dropout would drop the same units on every device.
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
        pl.seed_everything(int(words[0]), verbose=False)
