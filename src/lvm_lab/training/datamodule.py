"""Feeds parts to Lightning: document-diverse training batches, the same validation batches every time."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch.utils.data import DataLoader

from lvm_lab.data.batches import WindowBatches
from lvm_lab.data.parts import Parts
from lvm_lab.data.sampler import DiverseBatches, FixedBatches
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.training._lightning import pl
from lvm_lab.training.strategies.base import Stage, Stages
from lvm_lab.types import Batch

log = logging.getLogger(__name__)
VALIDATION_WINDOWS = 5_000


class VectorDataModule(pl.LightningDataModule):
    """batch_size is the global one: with R devices each gets a batch_size / R share of every batch.

    negatives: hard negatives a window, as many as the loss asks for. stages: those of a strategy; each has its loader,
    which is kept, and the trainer asks for it before every epoch.
    """

    def __init__(
        self,
        parts: Parts,
        batch_size: int,
        max_per_doc: int,
        negatives: int,
        seed: int,
        stages: Stages | None = None,
    ) -> None:
        super().__init__()
        self.parts, self.batch_size, self.max_per_doc = parts, batch_size, max_per_doc
        self.negatives, self.seed = negatives, seed
        self.stages = stages
        self._loaders: dict[int, DataLoader[Batch]] = {}

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.stages is None:
            return self._training_loader(self.parts.train, self.negatives)
        return self._stage_loader(self.stages.of(self.trainer.current_epoch if self.trainer else 0))

    def steps(self, accumulated: int) -> int | None:
        """The optimiser's steps of all epochs, whose stages have different numbers of batches; None without stages.

        accumulated: batches a step. Raises UserError where a stage cannot fill a batch.
        """
        if self.stages is None:
            return None
        every = self.stages.stages
        return sum(stage.epochs * math.ceil(len(self._stage_loader(stage)) / accumulated) for stage in every)

    def _stage_loader(self, stage: Stage) -> DataLoader[Batch]:
        if id(stage) not in self._loaders:
            train = self.parts.train
            windows = train if stage.positions is None else train.select(stage.positions)
            negatives = self.negatives if stage.negatives is None else stage.negatives
            self._loaders[id(stage)] = self._training_loader(windows, negatives)
        return self._loaders[id(stage)]

    def _training_loader(self, windows: Windows, negatives: int) -> DataLoader[Batch]:
        sampler = DiverseBatches(windows.document_W, self.batch_size, self.max_per_doc, self.seed)
        seen, total = len(sampler) * self.batch_size, len(windows)
        # The last incomplete batch of an epoch is left out anyway.
        if len(sampler) < total // self.batch_size:
            log.info(
                "an epoch sees %d of %d training windows (%.0f%%), drawn anew each time: a batch takes at most %d of a "
                "document (data.max_per_doc)",
                seen,
                total,
                100 * seen / total,
                self.max_per_doc,
            )
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        dataset = WindowBatches(windows, negatives, rank, world)
        return _loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        windows = sample_evenly(self.parts.val, VALIDATION_WINDOWS, self.seed)
        sampler = FixedBatches(len(windows), self.batch_size, self.seed)
        dataset = WindowBatches(windows, self.negatives)
        return _loader(dataset, sampler)


def total_steps(trainer: pl.Trainer) -> int:
    """How many steps a training's optimiser takes: what its learning rate is scheduled over."""
    data = getattr(trainer, "datamodule", None)
    steps = data.steps(trainer.accumulate_grad_batches) if isinstance(data, VectorDataModule) else None
    return int(trainer.estimated_stepping_batches) if steps is None else steps


def _loader(dataset: WindowBatches, sampler: Any) -> DataLoader[Batch]:
    # A loader draws a number each time it is begun, and a resumed run begins it before the epoch is reseeded:
    # taken from a generator of its own, that draw leaves dropout's random state alone.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, generator=generator)


def _as_it_is(batch: Any) -> Any:
    return batch
