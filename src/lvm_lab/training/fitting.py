"""Trains a model on its parts of data, from the start or from a checkpoint on: trainer, callbacks, batches."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch

from lvm_lab.config.settings import Settings
from lvm_lab.data.parts import Parts
from lvm_lab.errors import Terminated, UserError
from lvm_lab.training import devices
from lvm_lab.training.callbacks import assembly
from lvm_lab.training.callbacks.base import RunContext
from lvm_lab.training.datamodule import VectorDataModule
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.trainer import trainer as make_trainer

log = logging.getLogger(__name__)


def fit(
    module: LatentVectorModule, data: Parts, settings: Settings, context: RunContext, folder: Path, last: Path | None
) -> bool:
    """Train to the end, in `folder`; whether the loss diverged. last: the checkpoint to go on from.

    Of several processes only the first returns. Raises UserError for what the devices cannot share, where another
    process of the run was killed, and where a device has no memory left.
    """
    callbacks = assembly.assemble(settings.config["callbacks"], context)
    trainer = make_trainer(settings, callbacks, folder, staged=module.stages is not None)
    trained = any(p.requires_grad for p in module.parameters())
    devices.check(trainer.world_size, settings.trainer.batch_size, trained)
    log.info("training on %s with %d CPU threads", trainer.strategy.root_device, torch.get_num_threads())
    batch_size, max_per_doc = settings.trainer.batch_size, settings.data.max_per_doc
    if data.mixing is not None:
        # Half of VAL is few documents, and as few numbers are learned from them.
        batch_size = min(batch_size, len(data.train) // trainer.world_size * trainer.world_size)
        max_per_doc = max(max_per_doc, len(data.train))
    batches = VectorDataModule(
        data,
        batch_size,
        max_per_doc,
        settings.config["loss"]["negatives"],
        settings.seed,
        settings.data.shortest if settings.data.windows == "documents" else None,
        module.stages,
        settings.device.resident,
        settings.data.tmd is not None,
    )
    try:
        trainer.fit(module, datamodule=batches, ckpt_path=last, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into an exit of its own.
        terminated = any(getattr(callback, "terminated", False) for callback in callbacks)
        raise (Terminated if terminated else KeyboardInterrupt) from None
    except (RuntimeError, MemoryError) as error:
        if devices.lost(trainer.strategy.launcher):
            raise UserError(
                "another process of this run was killed (out of memory?); the same command goes on from the last "
                "checkpoint."
            ) from error
        if devices.out_of_memory(error):
            size = settings.trainer.batch_size
            raise UserError(
                f"{trainer.strategy.root_device} ran out of memory with trainer.batch_size={size}; "
                f"{devices.smaller_batch(size, trainer.world_size)}."
            ) from error
        raise
    devices.part()
    if not trainer.is_global_zero:
        sys.exit(0)
    return any(getattr(callback, "diverged", False) for callback in callbacks)
