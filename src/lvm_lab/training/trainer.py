"""Lightning's trainer as a run wants it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from lvm_lab.config.settings import Settings
from lvm_lab.errors import UserError
from lvm_lab.training._lightning import MisconfigurationException, StrategyRegistry, pl
from lvm_lab.training.checkpoint import AtomicCheckpointIO


def trainer(settings: Settings, callbacks: Sequence[pl.Callback], folder: Path, staged: bool = False) -> pl.Trainer:
    """A quiet trainer: progress, history and checkpoints are callbacks of ours.

    staged: whether epochs differ, so that it asks for the training batches before each.
    Raises UserError for device settings that do not work here.
    """
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    # Mixed precision hands bfloat16 to norms whose weights stay float32: slower, and as it should be.
    warnings.filterwarnings("ignore", message=".*Cannot dispatch to fused implementation.*")
    # The batches of the epoch that are done are left out by a callback, which Lightning cannot see.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    if settings.device.threads:
        torch.set_num_threads(settings.device.threads)
    strategies = StrategyRegistry.available_strategies()
    if settings.device.strategy not in ("auto", *strategies):
        raise UserError(f"device.strategy={settings.device.strategy!r} does not exist; set auto or ddp.")
    try:
        return pl.Trainer(
            max_epochs=settings.trainer.max_epochs,
            accelerator=settings.device.accelerator,
            devices=settings.device.devices,
            strategy=settings.device.strategy,
            precision=settings.trainer.precision,
            gradient_clip_val=settings.trainer.optim.clip or None,
            callbacks=[*callbacks],
            plugins=[AtomicCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=int(staged),
        )
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"these device settings do not work ({reason}); set device=cpu or device=auto.") from error
