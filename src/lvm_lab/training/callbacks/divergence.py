"""Stops a run whose loss is no number any more; the run then counts as finished, with status diverged."""

from __future__ import annotations

import logging
import math
from typing import Any

from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

log = logging.getLogger(__name__)


class Divergence(Callback):
    priority = 10  # before five_cat, which judges the epoch that this makes the last

    def __init__(self) -> None:
        self.diverged = False

    def state_dict(self) -> dict[str, Any]:
        return {"diverged": self.diverged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.diverged = state_dict["diverged"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Killed after its last epoch and taken up again: it stays where it stopped.
        trainer.should_stop = trainer.should_stop or self.diverged

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        losses = {name: pl_module.metrics[name] for name in ("train/loss", "val/loss")}
        if all(math.isfinite(value) for value in losses.values()):
            return
        self.diverged = True
        trainer.should_stop = True
        log.error(
            "epoch %d: the loss is %s: the run has diverged; lower trainer.optim.lr", trainer.current_epoch, losses
        )
