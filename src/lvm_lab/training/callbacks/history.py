"""Writes every metric of an epoch as one line of history.jsonl and tells the loggers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from lvm_lab.training.module import LatentVectorModule

TIMES = ("seconds", "windows_per_second")


class History(pl.Callback):
    """write: takes the row. Stands after the callbacks whose numbers it writes and before the checkpoints.

    A row is written before `last.ckpt`: a run killed between the two computes the epoch again, and
    nothing is lost.
    """

    def __init__(self, *write: Callable[[dict[str, Any]], None]) -> None:
        self.write = write
        self.started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self.started
        windows = trainer.num_training_batches * trainer.datamodule.batch_size  # type: ignore[attr-defined]
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **pl_module.metrics}
        row |= {"seconds": seconds, "windows_per_second": windows / seconds}
        for write in self.write:
            write({name: _plain(value) for name, value in row.items()})


def _plain(value: Any) -> Any:
    # JSON has no NaN; null says the same to every reader.
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
