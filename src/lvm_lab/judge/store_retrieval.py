"""The rank of the target among all chunks of its store, by FAISS.

Shape suffixes: B windows, L context length, D vector dim, N rows of the store.
"""

from __future__ import annotations

import faiss
import numpy as np

from lvm_lab.data.rows import Rows
from lvm_lab.data.sketch import row_digests
from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import cosines, normalise
from lvm_lab.judge.gates.retrieval import TIE, rank_scores

RANKS = (1, 5, 10)
# Rows that are held as unit vectors at once, and the most (window, row) pairs that one search may return.
BLOCK = 16_384
PAIRS = 4_000_000
SLICE = 2048


def store_scores(unit_BD: np.ndarray, windows: Windows) -> dict[str, np.ndarray]:
    """r1, r5, r10 and mrr of the target's rank, the same by chance, and both without the context as candidates.

    Candidates are all rows of the store, of every part; those equal to the target compete with nobody. A row within
    1e-6 of the target's cosine ranks before it. Cosines come from inner products in float32. NaN for the unseen ones
    where nothing is left to compete; a prediction that is not finite ranks last.
    """
    rows = windows.vectors_ND
    content_N = row_digests(rows)
    _, number_N, count = np.unique(content_N, return_inverse=True, return_counts=True)
    equal_B = count[number_N[windows.target_row_W]]
    target_BD = windows.vectors(windows.target_row_W)
    cos_B = cosines(unit_BD, target_BD)
    not_finite_B = ~np.isfinite(cos_B)
    cos_B = np.where(not_finite_B, 2 * TIE - 2, cos_B)
    unit_BD = np.where(not_finite_B[:, None], 0, unit_BD)
    # The target and its equals are always in reach of themselves, and compete with nobody.
    before_B = np.where(not_finite_B, len(rows), _within(unit_BD, cos_B - TIE, rows)) - equal_B
    rivals_B = len(rows) - equal_B

    unseen_before_B, unseen_rivals_B = before_B.copy(), rivals_B.copy()
    for positions, some in windows.slices(SLICE):
        rival_BL = content_N[some.context_rows()] != content_N[some.target_row_W][:, None]
        near_BL = cosines(unit_BD[positions, None], some.context()) >= cos_B[positions, None] - TIE
        unseen_before_B[positions] -= (near_BL & rival_BL).sum(axis=1)
        unseen_rivals_B[positions] -= rival_BL.sum(axis=1)

    whole = rank_scores(before_B + 1, rivals_B + 1, "")
    unseen = rank_scores(unseen_before_B + 1, unseen_rivals_B + 1, "_unseen")
    names = [f"{chance}{score}" for score in (*(f"r{k}" for k in RANKS), "mrr") for chance in ("", "chance_")]
    scores = {name: whole[name] for name in names}
    return scores | {
        f"{name}_unseen": np.where(unseen_rivals_B == 0, np.nan, unseen[f"{name}_unseen"]) for name in names
    }


def _within(unit_BD: np.ndarray, least_B: np.ndarray, rows_ND: Rows) -> np.ndarray:
    """How many rows have a cosine above each window's own least one.

    FAISS knows one radius for a whole search: one more dimension, 1 in the rows and -least in the queries, moves
    every window's threshold to 0.
    """
    query_BD = np.concatenate([normalise(unit_BD), -least_B[:, None]], axis=1).astype(np.float32)
    counts_B = np.zeros(len(query_BD), dtype=np.int64)
    step = max(1, PAIRS // BLOCK)
    for first in range(0, len(rows_ND), BLOCK):
        unit_ND = normalise(rows_ND[first : first + BLOCK]).astype(np.float32)
        index = faiss.IndexFlatIP(query_BD.shape[1])
        index.add(np.concatenate([unit_ND, np.ones((len(unit_ND), 1), dtype=np.float32)], axis=1))
        for start in range(0, len(query_BD), step):
            limits = index.range_search(query_BD[start : start + step], 0.0)[0]
            counts_B[start : start + step] += limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
    return counts_B
