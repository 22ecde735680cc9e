"""Stops a run whose loss is no number any more; the run then counts as finished, with status diverged."""

from __future__ import annotations

import logging
import math

import pytorch_lightning as pl

from lvm_lab.module import LatentVectorModule

log = logging.getLogger(__name__)


class Divergence(pl.Callback):
    def __init__(self) -> None:
        self.diverged = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        losses = {name: pl_module.metrics[name] for name in ("train/loss", "val/loss")}
        if all(math.isfinite(value) for value in losses.values()):
            return
        self.diverged = True
        trainer.should_stop = True
        log.error(
            "epoch %d: the loss is %s: the run has diverged; lower trainer.optim.lr", trainer.current_epoch, losses
        )
