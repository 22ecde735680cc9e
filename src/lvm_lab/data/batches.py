"""Turns drawn positions into a Batch, gathered from the mmap when asked for.

Shape suffixes: B batch, L context length, D vector dim, M negatives a window.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import Dataset

from lvm_lab.data.rows import Rows
from lvm_lab.data.sampler import Draw
from lvm_lab.data.windows import Windows
from lvm_lab.types import Batch

# Rows of a store, of any shape, to their vectors in float32, with one more dim.
Gather = Callable[[np.ndarray], torch.Tensor]


class WindowBatches(Dataset[Batch]):
    """draw -> Batch of float32 tensors; with several devices, each takes every `world`-th window.

    negatives: how many other chunks of the same document come with each window (0: none). gather: rows of the store to
    their vectors, from the memory map unless told otherwise.
    """

    def __init__(
        self, windows: Windows, negatives: int = 0, rank: int = 0, world: int = 1, gather: Gather | None = None
    ) -> None:
        self.windows, self.negatives, self.rank, self.world = windows, negatives, rank, world
        self.gather = gather or from_map(windows.vectors_ND)

    def __getitem__(self, draw: Draw) -> Batch:
        share = slice(self.rank, None, self.world)
        positions = draw.positions[share]
        windows = self.windows
        batch = Batch(
            context_BLD=self.gather(windows.context_rows(positions)),
            target_ND=self.gather(windows.target_row_W[positions]),
            document_N=torch.from_numpy(windows.document_W[positions]),
        )
        if self.negatives == 0:
            return batch
        # Drawn for the global batch and then shared out, so that the number of devices changes nothing.
        rows_BM, real_BM = negative_rows(windows.select(draw.positions), self.negatives, draw.seed)
        rows_BM, real_BM = rows_BM[share], real_BM[share]
        if windows.excluded_N is not None:
            real_BM = real_BM & ~windows.excluded_N[rows_BM]
        return Batch(
            batch.context_BLD,
            batch.target_ND,
            batch.document_N,
            self.gather(rows_BM),
            torch.from_numpy(real_BM),
        )


def from_map(vectors_ND: Rows) -> Gather:
    """Gathers from where the vectors lie at rest. NumPy widens halves one at a time, which took most of a batch's time;
    torch takes eight."""
    return lambda rows: torch.from_numpy(np.asarray(vectors_ND[rows])).float()


def negative_rows(windows: Windows, count: int, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """rows_BM of other chunks of each window's stretch, without its context and target, and which are real.

    The stretch's other rows are cut into `count` equal stripes and one row is drawn from each, so
    that none comes twice; a stretch with fewer others gives each of them once.
    """
    rng = np.random.default_rng(seed)
    context = windows.context_length
    others_B1 = (windows.end_W - windows.start_W - context - 1)[:, None]
    stripe_M = np.arange(count)[None, :]
    low_BM = stripe_M * others_B1 // count
    high_BM = (stripe_M + 1) * others_B1 // count
    pick_BM = low_BM + (rng.random(low_BM.shape) * (high_BM - low_BM)).astype(np.int64)
    real_BM = high_BM > low_BM
    rows_BM = windows.start_W[:, None] + pick_BM
    rows_BM += (rows_BM >= windows.target_row_W[:, None] - context) * (context + 1)
    return np.where(real_BM, rows_BM, windows.target_row_W[:, None]), real_BM
