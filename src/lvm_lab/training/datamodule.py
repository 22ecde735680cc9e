"""Feeds parts to Lightning: document-diverse training batches, the same validation batches every time."""

from __future__ import annotations

import logging
import math
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader

from lvm_lab.data.batches import Gather, SegmentBatches, WindowBatches
from lvm_lab.data.parts import Parts
from lvm_lab.data.resident import Resident
from lvm_lab.data.sampler import DiverseBatches, FixedBatches, Resumable
from lvm_lab.data.segments import Cuts, SegmentSampler, fixed_draws
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.training._lightning import pl
from lvm_lab.training.strategies.base import Stage, Stages
from lvm_lab.types import Batch

log = logging.getLogger(__name__)
VALIDATION_WINDOWS = 5_000
# With documents. A segment costs what a window of its length does, and has a target at nearly every place.
VALIDATION_SEGMENTS = 1_000


class VectorDataModule(pl.LightningDataModule):
    """batch_size is the global one: with R devices each gets a batch_size / R share of every batch.

    negatives: hard negatives a window or segment, as many as the loss asks for.
    shortest: cut documents into segments, which batch_size and max_per_doc then count, and supervise every place that
        has read so many vectors; None: windows.
    stages: those of a strategy; each has its loader, which is kept, and the trainer asks for it before every epoch.
    resident: device.resident. codes: whether the model reads TMD codes.
    """

    def __init__(
        self,
        parts: Parts,
        batch_size: int,
        max_per_doc: int,
        negatives: int,
        seed: int,
        shortest: int | None = None,
        stages: Stages | None = None,
        resident: Literal["auto", "always", "never"] = "auto",
        codes: bool = False,
    ) -> None:
        super().__init__()
        self.parts, self.batch_size, self.max_per_doc = parts, batch_size, max_per_doc
        self.negatives, self.seed, self.shortest, self.stages = negatives, seed, shortest, stages
        self.resident, self.codes = resident, codes
        self._vectors: Resident | None = None
        self._loaders: dict[int, DataLoader[Batch]] = {}
        self._batches: Resumable | None = None

    @property
    def targets_an_epoch(self) -> int:
        """How many targets this epoch's batches supervise, windows counting one each."""
        assert self._batches is not None
        if isinstance(self._batches.sampler, SegmentSampler):
            return self._batches.sampler.targets
        return len(self._batches) * self.batch_size

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next epoch, without gathering them."""
        assert self._batches is not None
        self._batches.skip(batches)

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.stages is None:
            loader = self._training_loader(self.parts.train, self.negatives)
        else:
            loader = self._stage_loader(self.stages.of(self.trainer.current_epoch if self.trainer else 0))
        assert isinstance(loader.sampler, Resumable)
        self._batches = loader.sampler
        return loader

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
        if self.shortest is not None:
            return self._segment_loader(windows, negatives, self.shortest)
        sampler = DiverseBatches(
            windows.document_W, self.batch_size, self.max_per_doc, self.seed, self._weights(windows)
        )
        seen = len(sampler) * self.batch_size
        total = len(windows) if sampler.mix is None else len(sampler.mix.document_W)
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
        batches = WindowBatches(windows, negatives, *self._place(), self._gather(windows), self.codes)
        return _loader(batches, Resumable(sampler))

    def _segment_loader(self, windows: Windows, negatives: int, shortest: int) -> DataLoader[Batch]:
        cuts = Cuts(windows, shortest)
        sampler = SegmentSampler(cuts, self.batch_size, self.max_per_doc, self.seed, self._weights(cuts.windows))
        seen, total = len(sampler) * self.batch_size, sampler.segments
        log.info(
            "an epoch reads %d of %d segments (%.0f%%) of up to %d chunks, cut anew each time, in which %d targets are "
            "supervised",
            seen,
            total,
            100 * seen / total,
            windows.context_length + 1,
            len(windows),
        )
        if len(sampler) < total // self.batch_size:
            log.info("a batch takes at most %d segments of a document (data.max_per_doc)", self.max_per_doc)
        return _loader(SegmentBatches(negatives, *self._place(), self._gather(windows), self.codes), Resumable(sampler))

    def _weights(self, windows: Windows) -> np.ndarray | None:
        """How often each window is drawn in an epoch, where stores are mixed by weight."""
        return None if self.parts.training is None else self.parts.training.weights(windows)

    def _place(self) -> tuple[int, int]:
        """Which of how many devices this one is."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def val_dataloader(self) -> DataLoader[Batch]:
        if self.shortest is not None:
            # Supervised as in training, and cut where documents begin.
            draws = fixed_draws(self.parts.val, self.shortest, VALIDATION_SEGMENTS, self.batch_size, self.seed)
            return _loader(SegmentBatches(self.negatives, gather=self._gather(self.parts.val), codes=self.codes), draws)
        windows = sample_evenly(self.parts.val, VALIDATION_WINDOWS, self.seed)
        sampler = FixedBatches(len(windows), self.batch_size, self.seed)
        dataset = WindowBatches(windows, self.negatives, gather=self._gather(windows), codes=self.codes)
        return _loader(dataset, sampler)

    def _gather(self, windows: Windows) -> Gather:
        if self._vectors is None:
            device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            self._vectors = Resident(device, self.resident)
        return self._vectors.gather(windows.vectors_ND)


def total_steps(trainer: pl.Trainer) -> int:
    """How many steps a training's optimiser takes: what its learning rate is scheduled over."""
    data = getattr(trainer, "datamodule", None)
    steps = data.steps(trainer.accumulate_grad_batches) if isinstance(data, VectorDataModule) else None
    return int(trainer.estimated_stepping_batches) if steps is None else steps


def _loader(dataset: WindowBatches | SegmentBatches, sampler: Any) -> DataLoader[Batch]:
    # A loader draws a number each time it is begun, and a resumed run begins it before the epoch is reseeded:
    # taken from a generator of its own, that draw leaves dropout's random state alone.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, generator=generator)


def _as_it_is(batch: Any) -> Any:
    return batch
