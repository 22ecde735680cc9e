"""Writes best.ckpt, best_5cat.ckpt, last.ckpt and, if asked, periodic ones.

`last.ckpt` holds everything that resuming needs; the others hold weights only. Choices look at val only. Inside an
epoch it is written by the clock, and where SIGTERM asks the process to go.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

from lvm_lab.config.settings import CheckpointSettings
from lvm_lab.errors import Terminated
from lvm_lab.training import devices, inside_epoch
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import Callback
from lvm_lab.training.module import LatentVectorModule


class Checkpoints(Callback):
    """best: the lowest validation loss. best_5cat: VAL halves passed, then the VAL margin."""

    priority = 90  # last: after five_cat, which ranks; killed before last.ckpt, a run computes the row's epoch again

    def __init__(self, folder: Path, checkpoint: CheckpointSettings) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self.best_loss: float | None = None
        self.best_rank: list[float] | None = None
        self.kept: list[list[float]] = []
        self.terminated = False
        self.saved = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "best_rank": self.best_rank, "kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self.best_rank, self.kept = (state_dict[k] for k in ("best_loss", "best_rank", "kept"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.saved = time.monotonic()
        # In place of Lightning's own, which leaves without saving and talks to other devices from inside the handler;
        # it puts back what there was before both when the fit is over.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminate)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: pl.Trainer, pl_module: LatentVectorModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx + 1 == trainer.num_training_batches:
            # The epoch's own end saves.
            return
        # The first device's clock counts; SIGTERM may come to any.
        seconds = 60 * (self.checkpoint.every_minutes or 0)
        due = bool(seconds) and trainer.is_global_zero and time.monotonic() - self.saved >= seconds
        due, asked_to_go = devices.any_of([due, self._asked_to_go(trainer)], pl_module.device)
        if due or asked_to_go:
            with inside_epoch.drawing_nothing(pl_module.device):
                self._save_last(trainer)
        if asked_to_go:
            self._go()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: LatentVectorModule) -> None:  # type: ignore[override]
        metrics, epoch = pl_module.metrics, trainer.current_epoch
        loss = metrics["val/loss"]
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss = loss
            self._save(trainer, "best.ckpt")
        rank = metrics.get("5cat/rank")
        if rank is not None and (self.best_rank is None or rank > self.best_rank):
            self.best_rank = rank
            self._save(trainer, "best_5cat.ckpt")
        every = self.checkpoint.every_n_epochs
        if every and (epoch + 1) % every == 0:
            self._save(trainer, f"epoch={epoch:02d}.ckpt")
        if self.checkpoint.keep_best:
            self._keep(trainer, loss, epoch)
        self._save_last(trainer)
        if devices.any_of([self._asked_to_go(trainer)], pl_module.device)[0]:
            self._go()

    def _terminate(self, *_: Any) -> None:
        self.terminated = True

    def _asked_to_go(self, trainer: pl.Trainer) -> bool:
        # Lightning's handler hears what comes before the first epoch begins.
        return self.terminated or trainer.received_sigterm

    def _go(self) -> None:
        self.terminated = True
        raise Terminated

    def _save_last(self, trainer: pl.Trainer) -> None:
        self._save(trainer, "last.ckpt", weights_only=False)
        self.saved = time.monotonic()

    def _keep(self, trainer: pl.Trainer, loss: float, epoch: int) -> None:
        ranked = sorted([*self.kept, [loss, epoch]])[: self.checkpoint.keep_best]
        if [loss, epoch] in ranked:
            self._save(trainer, f"top-epoch={epoch:02d}.ckpt")
        for _, old in self.kept:
            if old not in [kept for _, kept in ranked] and trainer.is_global_zero:
                (self.folder / f"top-epoch={int(old):02d}.ckpt").unlink(missing_ok=True)
        self.kept = ranked

    def _save(self, trainer: pl.Trainer, name: str, weights_only: bool = True) -> None:
        trainer.save_checkpoint(self.folder / name, weights_only=weights_only)
