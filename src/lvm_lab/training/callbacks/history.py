"""Hands every metric of an epoch, as one row, to history.jsonl and the loggers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from lvm_lab.training import inside_epoch
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule

TIMES = ("seconds", "windows_per_second")


class History(Callback):
    """write: takes the row."""

    priority = 80  # after all whose numbers it writes; before checkpoints, so that a kill between loses no row

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self.write = write
        self.started = 0.0
        self.before = 0.0

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.before = inside_epoch.progress(checkpoint).seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # An epoch that is gone on with does not start again.
        self.started = time.perf_counter() - self.before

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self.started
        # A window has one target, a segment of a document has many.
        windows = trainer.datamodule.targets_an_epoch  # type: ignore[attr-defined]
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **pl_module.metrics}
        row |= {"seconds": seconds, "windows_per_second": windows / seconds}
        self.write({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    # JSON has no NaN; null says the same to every reader.
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
