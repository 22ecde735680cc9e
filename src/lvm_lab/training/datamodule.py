"""Feeds parts to Lightning: document-diverse training batches, the same validation batches every time."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from lvm_lab.data.batches import Gather, WindowBatches
from lvm_lab.data.parts import Parts
from lvm_lab.data.resident import Resident
from lvm_lab.data.sampler import DiverseBatches, FixedBatches
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.training._lightning import pl
from lvm_lab.types import Batch

log = logging.getLogger(__name__)
VALIDATION_WINDOWS = 5_000


class VectorDataModule(pl.LightningDataModule):
    """batch_size is the global one: with R devices each gets a batch_size / R share of every batch.

    negatives: hard negatives a window, as many as the loss asks for. resident: device.resident.
    """

    def __init__(
        self,
        parts: Parts,
        batch_size: int,
        max_per_doc: int,
        negatives: int,
        seed: int,
        resident: Literal["auto", "always", "never"] = "auto",
    ) -> None:
        super().__init__()
        self.resident = resident
        self._vectors: Resident | None = None
        self.parts, self.batch_size, self.max_per_doc = parts, batch_size, max_per_doc
        self.negatives, self.seed = negatives, seed

    def train_dataloader(self) -> DataLoader[Batch]:
        windows = self.parts.train
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
        dataset = WindowBatches(windows, self.negatives, rank, world, self._gather(windows))
        return _loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        windows = sample_evenly(self.parts.val, VALIDATION_WINDOWS, self.seed)
        sampler = FixedBatches(len(windows), self.batch_size, self.seed)
        dataset = WindowBatches(windows, self.negatives, gather=self._gather(windows))
        return _loader(dataset, sampler)

    def _gather(self, windows: Windows) -> Gather:
        if self._vectors is None:
            device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            self._vectors = Resident(device, self.resident)
        return self._vectors.gather(windows.vectors_ND)


def _loader(dataset: WindowBatches, sampler: Any) -> DataLoader[Batch]:
    # A loader draws a number each time it is begun, and a resumed run begins it before the epoch is reseeded:
    # taken from a generator of its own, that draw leaves dropout's random state alone.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, generator=generator)


def _as_it_is(batch: Any) -> Any:
    return batch
