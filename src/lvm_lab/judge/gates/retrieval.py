"""Gate B: the rank of the target among the chunks of its document.

Shape suffixes: B windows, L context length, D vector dim, K candidates, n windows of one document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import Gate, Slice

# Chunks to rank that were not read, the target among them: with the target alone a guess is always right.
FEWEST_CANDIDATES = 6
RANKS = range(1, 11)
TIE = 1e-6
# Cosines nearer than this are one number: without it, rounding would break exact ties where no tolerance is asked for.
ROUNDING = 1e-12
# Cosines of this many (window, candidate) pairs are held at once.
BLOCK = 1_000_000


class RetrievalRank(Gate):
    """R@1, R@5 and MRR of the target among the chunks of its document."""

    letter = "B"
    name = "retrieval rank"
    at_least = ("r1", "r5", "mrr")
    lead = "r1"
    lacks = "no window's document has 6 chunks besides its context"

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return retrieval_scores(part.unit_BD, part.windows)


@dataclass(frozen=True)
class Competitors:
    """Of each window, the different chunks of its document that compete with the target: how many there are, how many
    rank before it, and the same without those that the window reads. chunks_B: rows of the document."""

    chunks_B: np.ndarray
    above_B: np.ndarray
    rivals_B: np.ndarray
    unseen_above_B: np.ndarray
    unseen_rivals_B: np.ndarray


def retrieval_scores(unit_BD: np.ndarray, windows: Windows, *, pessimistic: bool = True) -> dict[str, np.ndarray]:
    """r1 to r10 and mrr of the target's rank, the same by chance, and both without the context as candidates.

    Candidates are the different chunks of the window's document, over all its stretches; what stands in it twice is one
    of them, and one that stands in the context too is not unseen. pessimistic: a competitor within 1e-6 of the target's
    cosine ranks before it; else (the old tool's way) only one strictly above does. NaN where fewer than 6 unseen ones
    are left, target included; the old tool counts the document's chunks.
    """
    one = competitors(unit_BD, windows, pessimistic=pessimistic)
    few_B = (one.unseen_rivals_B + 1 if pessimistic else one.chunks_B) < FEWEST_CANDIDATES
    scores = rank_scores(one.above_B + 1, one.rivals_B + 1, "") | rank_scores(
        one.unseen_above_B + 1, one.unseen_rivals_B + 1, "_unseen"
    )
    none_B = few_B | (one.unseen_rivals_B == 0)
    return {
        name: np.where(none_B if name.endswith("_unseen") else few_B, np.nan, values) for name, values in scores.items()
    }


def competitors(unit_BD: np.ndarray, windows: Windows, *, pessimistic: bool = True) -> Competitors:
    """What `retrieval_scores` counts, however few there are."""
    chunks_B = np.zeros(len(windows), dtype=np.int64)
    counts_B4 = np.zeros((len(windows), 4), dtype=np.int64)
    for some, rows_K in windows.by_document():
        block_KD = _gather(windows, rows_K)
        first, number_K = _distinct(block_KD)
        place_n = np.searchsorted(rows_K, windows.target_row_W[some])
        # Where a window reads fewer vectors, the first of them stands in the places before it.
        first_n = np.searchsorted(rows_K, windows.start_W[some])
        back_L = np.arange(windows.context_length, 0, -1)
        context_nL = number_K[np.maximum(place_n[:, None] - back_L, first_n[:, None])]
        counts = _count(unit_BD[some], block_KD[first], number_K[place_n], context_nL, pessimistic)
        chunks_B[some] = len(rows_K)
        counts_B4[some] = np.stack(counts, axis=1)
    return Competitors(chunks_B, *counts_B4.T)


def _gather(windows: Windows, rows_K: np.ndarray) -> np.ndarray:
    """A document's vectors; of one stretch by a slice, which is read from the disk in one go."""
    whole = rows_K[-1] - rows_K[0] + 1 == len(rows_K)
    return np.ascontiguousarray(windows.vectors_ND[rows_K[0] : rows_K[-1] + 1] if whole else windows.vectors_ND[rows_K])


def _count(
    unit_nD: np.ndarray, block_KD: np.ndarray, target_n: np.ndarray, context_nL: np.ndarray, pessimistic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How many competitors rank before the target and how many there are; the same without the context.

    block_KD: the different chunks; target_n, context_nL: which of them they are.
    """
    unit_nD = normalise(unit_nD)
    cos_n = np.einsum("nd,nd->n", unit_nD, normalise(block_KD[target_n]))[:, None]
    read_nK = np.zeros((len(target_n), len(block_KD)), dtype=bool)
    np.put_along_axis(read_nK, context_nL, True, axis=1)
    counts = np.zeros((4, len(target_n)), dtype=np.int64)
    step = max(1, BLOCK // max(len(target_n), block_KD.shape[1]))
    for first in range(0, len(block_KD), step):
        places_K = np.arange(first, min(first + step, len(block_KD)))
        cos_nK = unit_nD @ normalise(block_KD[first : first + step]).T
        before_nK = cos_nK >= cos_n - TIE if pessimistic else cos_nK > cos_n + ROUNDING
        rival_nK = places_K != target_n[:, None]
        unseen_nK = rival_nK & ~read_nK[:, first : first + step]
        for i, counted_nK in enumerate((before_nK & rival_nK, rival_nK, before_nK & unseen_nK, unseen_nK)):
            counts[i] += counted_nK.sum(axis=1)
    return counts[0], counts[1], counts[2], counts[3]


def _distinct(block_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(place of each different row, where it stands first; number_K: which of these a row is), by bytes."""
    as_bytes = block_KD.view(np.dtype((np.void, block_KD.dtype.itemsize * block_KD.shape[1]))).ravel()
    _, first, number_K = np.unique(as_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[number_K.ravel()]


def rank_scores(rank_B: np.ndarray, candidates_B: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    """r1 to r10 and mrr of ranks from 1, each with what chance reaches among so many candidates."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, candidates_B.max(initial=1) + 1))])
    scores = {f"r{k}{suffix}": (rank_B <= k).astype(np.float64) for k in RANKS}
    scores |= {f"chance_r{k}{suffix}": np.minimum(k, candidates_B) / candidates_B for k in RANKS}
    return scores | {f"mrr{suffix}": 1 / rank_B, f"chance_mrr{suffix}": harmonic[candidates_B] / candidates_B}
