"""Ends a training whose validation loss has stopped falling, if it is asked to."""

from __future__ import annotations

import logging
from typing import Any

from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

log = logging.getLogger(__name__)


class Plateau(Callback):
    """patience: epochs without a lower validation loss (0: never stops). Looks at val only."""

    priority = 20  # before five_cat, which judges the epoch that this makes the last

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best: float | None = None
        self.epochs_without = 0
        self.stopped = False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.epochs_without, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.epochs_without, self.stopped = (state_dict[k] for k in ("best", "waited", "stopped"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Killed after its last epoch and taken up again: it stays where it stopped.
        trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        loss = pl_module.metrics["val/loss"]
        if self.best is None or loss < self.best:
            self.best, self.epochs_without = loss, 0
            return
        self.epochs_without += 1
        if self.patience and self.epochs_without >= self.patience:
            log.info("stopping: %d epochs without a validation loss below %.4f", self.epochs_without, self.best)
            trainer.should_stop = self.stopped = True
