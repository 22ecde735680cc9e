"""Writes best.ckpt, best_5cat.ckpt, last.ckpt and, if asked, periodic ones.

`last.ckpt` holds everything that resuming needs; the others hold weights only. Choices look at val only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.config.settings import CheckpointSettings
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

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "best_rank": self.best_rank, "kept": self.kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_loss, self.best_rank, self.kept = (state_dict[k] for k in ("best_loss", "best_rank", "kept"))

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
        self._save(trainer, "last.ckpt", weights_only=False)

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
