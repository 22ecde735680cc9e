"""Turns drawn positions into a Batch, gathered from the mmap when asked for.

Shape suffixes: B batch, L context length, D vector dim, M negatives a window or segment, P rows of the longest segment,
N supervised targets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset

from lvm_lab.data.rows import Rows
from lvm_lab.data.sampler import Draw
from lvm_lab.data.segments import SegmentDraw
from lvm_lab.data.tmd import columns
from lvm_lab.data.windows import Windows, stripes
from lvm_lab.types import Batch

# Rows of a store, of any shape, to their vectors in float32, with one more dim.
Gather = Callable[[np.ndarray], torch.Tensor]


class WindowBatches(Dataset[Batch]):
    """draw -> Batch of float32 tensors; with several devices, each takes every `world`-th window.

    negatives: how many other chunks of the same document come with each window (0: none). gather: rows of the store to
    their vectors, from the memory map unless told otherwise. codes: whether the contexts bring their TMD codes.
    """

    def __init__(
        self,
        windows: Windows,
        negatives: int = 0,
        rank: int = 0,
        world: int = 1,
        gather: Gather | None = None,
        codes: bool = False,
    ) -> None:
        self.windows, self.negatives, self.rank, self.world, self.codes = windows, negatives, rank, world, codes
        self.gather = gather or from_map(windows.vectors_ND)

    def __getitem__(self, draw: Draw) -> Batch:
        share = slice(self.rank, None, self.world)
        positions = draw.positions[share]
        windows = self.windows
        context_rows_BL = windows.context_rows(positions)
        batch = Batch(
            context_BLD=self.gather(context_rows_BL),
            target_ND=self.gather(windows.target_row_W[positions]),
            document_N=torch.from_numpy(windows.document_W[positions]),
            code_BLC=code_columns(windows, context_rows_BL) if self.codes else None,
        )
        if self.negatives == 0:
            return batch
        # Drawn for the global batch and then shared out, so that the number of devices changes nothing.
        rows_BM, real_BM = negative_rows(windows.select(draw.positions), self.negatives, draw.seed)
        rows_BM, real_BM = rows_BM[share], real_BM[share]
        if windows.excluded_N is not None:
            real_BM = real_BM & ~windows.excluded_N[rows_BM]
        return replace(batch, negatives_BMD=self.gather(rows_BM), negatives_mask_BM=torch.from_numpy(real_BM))


class SegmentBatches(Dataset[Batch]):
    """draw -> Batch of float32 tensors, segments padded on the right to the longest; with several devices, each takes
    every `world`-th segment.

    negatives: how many chunks of its stretch come with each segment, its own among them (0: none). gather, codes: as
    for windows.
    """

    def __init__(
        self, negatives: int = 0, rank: int = 0, world: int = 1, gather: Gather | None = None, codes: bool = False
    ) -> None:
        self.negatives, self.rank, self.world, self.gather, self.codes = negatives, rank, world, gather, codes

    def __getitem__(self, draw: SegmentDraw) -> Batch:
        share = slice(self.rank, None, self.world)
        segments, windows = draw.segments.select(share), draw.segments.windows
        gather = self.gather or from_map(windows.vectors_ND)
        rows_BP = segments.rows_SP()
        vectors_BPD = gather(rows_BP)
        segment_N, window_N = segments.segment_N, segments.window_N
        row_N = torch.from_numpy(windows.target_row_W[window_N] - segments.first_S[segment_N])
        of_N = torch.from_numpy(segment_N)
        # Drawn for the global batch and then shared out, so that the number of devices changes nothing.
        rng = np.random.default_rng(draw.seed)
        pick_B = (rng.random(len(draw.segments)) * draw.segments.count_S).astype(np.int64)[share]
        batch = Batch(
            context_BLD=vectors_BPD[:, :-1],
            target_ND=vectors_BPD[of_N, row_N],
            document_N=torch.from_numpy(windows.document_W[window_N]),
            index_N=of_N * (vectors_BPD.shape[1] - 1) + row_N - 1,
            pool_B=torch.from_numpy(np.cumsum(segments.count_S) - segments.count_S + pick_B),
            code_BLC=code_columns(windows, rows_BP[:, :-1]) if self.codes else None,
        )
        if self.negatives == 0:
            return batch
        rows_BM, real_BM = (x[share] for x in draw.segments.candidate_rows(self.negatives, rng))
        if windows.excluded_N is not None:
            real_BM = real_BM & ~windows.excluded_N[rows_BM]
        return replace(
            batch,
            negatives_BMD=gather(rows_BM),
            negatives_mask_BM=torch.from_numpy(real_BM),
            place_BM=torch.from_numpy(rows_BM - segments.first_S[:, None]),
        )


def from_map(vectors_ND: Rows) -> Gather:
    """Gathers from where the vectors lie at rest. NumPy widens halves one at a time, which took most of a batch's time;
    torch takes eight."""
    return lambda rows: torch.from_numpy(np.asarray(vectors_ND[rows])).float()


def code_columns(windows: Windows, rows: np.ndarray) -> torch.Tensor:
    """The columns of the TMD codes at these rows, of shape rows.shape + (C,)."""
    assert windows.codes_N is not None, "a model that reads codes was refused data without them"
    return torch.from_numpy(columns(windows.codes_N[rows]))


def negative_rows(windows: Windows, count: int, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """rows_BM of other chunks of each window's stretch, without its context and target, and which are real.

    The stretch's other rows are cut into `count` equal stripes and one row is drawn from each, so
    that none comes twice; a stretch with fewer others gives each of them once.
    """
    context_B1 = windows.length_W[:, None]
    others_B = windows.end_W - windows.start_W - windows.length_W - 1
    pick_BM, real_BM = stripes(others_B, count, np.random.default_rng(seed))
    rows_BM = windows.start_W[:, None] + pick_BM
    rows_BM += (rows_BM >= windows.target_row_W[:, None] - context_B1) * (context_B1 + 1)
    return np.where(real_BM, rows_BM, windows.target_row_W[:, None]), real_BM
