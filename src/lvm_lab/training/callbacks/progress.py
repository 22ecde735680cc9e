"""A progress bar with the time left for the whole run; without a terminal, a line an epoch."""

from __future__ import annotations

import logging
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.datamodule import total_steps
from lvm_lab.training.module import LatentVectorModule

log = logging.getLogger(__name__)


class RunProgress(Callback):
    priority = 70  # before history, so that the seconds of an epoch hold what is shown of it

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.started = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started, self.first_epoch = time.perf_counter(), trainer.current_epoch
        if not (self.console.is_terminal and trainer.is_global_zero):
            return
        columns = (TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn())
        self.bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
            refresh_per_second=4,
            transient=True,
        )
        total = total_steps(trainer)
        self.task = self.bar.add_task(
            "", total=total, completed=trainer.global_step, epoch=trainer.current_epoch, loss=""
        )
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        if not trainer.is_global_zero:
            return
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        losses = "  ".join(f"{name} {pl_module.metrics[name]:.4f}" for name in ("train/loss", "val/loss", "val/cos"))
        left = (time.perf_counter() - self.started) / (done - self.first_epoch) * (total - done)
        log.info("epoch %d of %d  %s  %.0f s left", done, total, losses, left)
        if self.bar is not None:
            self.bar.update(self.task, epoch=done, loss=losses)

    def on_exception(self, *_: Any) -> None:
        self._close()

    def on_train_end(self, *_: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
