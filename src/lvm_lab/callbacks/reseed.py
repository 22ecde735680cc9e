"""Reseeds every epoch from (seed, epoch), so that a resumed run draws what an unbroken one would have drawn."""

from __future__ import annotations

import random

import numpy as np
import pytorch_lightning as pl
import torch


class Reseed(pl.Callback):
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Ranks differ, or dropout would drop the same units on every device.
        words = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank]).generate_state(1)
        random.seed(int(words[0]))
        np.random.seed(int(words[0]))
        torch.manual_seed(int(words[0]))
