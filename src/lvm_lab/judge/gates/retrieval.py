"""Gate B: the rank of the target among the chunks of its document.

Shape suffixes: B windows, D vector dim, K candidates, n windows of one stretch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import Gate, Slice

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
    lacks = "no window's document has 6 chunks"

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return retrieval_scores(part.unit_BD, part.windows)


def retrieval_scores(unit_BD: np.ndarray, windows: Windows, *, pessimistic: bool = True) -> dict[str, np.ndarray]:
    """r1 to r10 and mrr of the target's rank, the same by chance, and both without the context as candidates.

    Candidates are the chunks of the window's stretch; those equal to the target compete with nobody.
    pessimistic: a competitor within 1e-6 of the target's cosine ranks before it; else (the old tool's
    way) only one strictly above does. NaN where there are fewer than 6 candidates, and for the unseen
    ones where nothing is left to compete.
    """
    above_B, rivals_B, unseen_above_B, unseen_rivals_B = np.zeros((4, len(windows)), dtype=np.int64)
    order = np.argsort(windows.start_W, kind="stable")
    edges = np.flatnonzero(np.diff(windows.start_W[order])) + 1
    for some in np.split(order, edges) if len(order) else []:
        start, end = int(windows.start_W[some[0]]), int(windows.end_W[some[0]])
        block_KD = np.ascontiguousarray(windows.vectors_ND[start:end])
        target_n = windows.target_row_W[some] - start
        counts = _count(unit_BD[some], block_KD, target_n, windows.context_length, pessimistic)
        above_B[some], rivals_B[some], unseen_above_B[some], unseen_rivals_B[some] = counts
    scores = rank_scores(above_B + 1, rivals_B + 1, "")
    few_B = windows.end_W - windows.start_W < FEWEST_CANDIDATES
    unseen = rank_scores(unseen_above_B + 1, unseen_rivals_B + 1, "_unseen")
    none_B = few_B | (unseen_rivals_B == 0)
    scores = {name: np.where(few_B, np.nan, values) for name, values in scores.items()}
    return scores | {name: np.where(none_B, np.nan, values) for name, values in unseen.items()}


def _count(
    unit_nD: np.ndarray, block_KD: np.ndarray, target_n: np.ndarray, context_length: int, pessimistic: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How many competitors rank before the target and how many there are; the same without the context."""
    unit_nD = normalise(unit_nD)
    cos_n = np.einsum("nd,nd->n", unit_nD, normalise(block_KD[target_n]))[:, None]
    same_K = _content(block_KD)
    counts = np.zeros((4, len(target_n)), dtype=np.int64)
    step = max(1, BLOCK // max(len(target_n), block_KD.shape[1]))
    for first in range(0, len(block_KD), step):
        places_K = np.arange(first, min(first + step, len(block_KD)))
        cos_nK = unit_nD @ normalise(block_KD[first : first + step]).T
        before_nK = cos_nK >= cos_n - TIE if pessimistic else cos_nK > cos_n + ROUNDING
        rival_nK = same_K[places_K] != same_K[target_n][:, None]
        back_nK = target_n[:, None] - places_K
        unseen_nK = rival_nK & ~((back_nK >= 1) & (back_nK <= context_length))
        for i, counted_nK in enumerate((before_nK & rival_nK, rival_nK, before_nK & unseen_nK, unseen_nK)):
            counts[i] += counted_nK.sum(axis=1)
    return counts[0], counts[1], counts[2], counts[3]


def _content(block_KD: np.ndarray) -> np.ndarray:
    """A number for each row; rows with equal bytes share it."""
    as_bytes = block_KD.view(np.dtype((np.void, block_KD.dtype.itemsize * block_KD.shape[1])))
    return np.unique(as_bytes.ravel(), return_inverse=True)[1].ravel()


def rank_scores(rank_B: np.ndarray, candidates_B: np.ndarray, suffix: str) -> dict[str, np.ndarray]:
    """r1 to r10 and mrr of ranks from 1, each with what chance reaches among so many candidates."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, candidates_B.max(initial=1) + 1))])
    scores = {f"r{k}{suffix}": (rank_B <= k).astype(np.float64) for k in RANKS}
    scores |= {f"chance_r{k}{suffix}": np.minimum(k, candidates_B) / candidates_B for k in RANKS}
    return scores | {f"mrr{suffix}": 1 / rank_B, f"chance_mrr{suffix}": harmonic[candidates_B] / candidates_B}
