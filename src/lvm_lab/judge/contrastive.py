"""Contrastive accuracy: how often the target is nearer to the prediction than the targets of other windows.

Two numbers that must not be compared with each other, nor across candidate counts: chance stands beside both.

Shape suffixes: W windows, B a slice or batch of them, D vector dim, K candidates.
"""

from __future__ import annotations

import numpy as np

from lvm_lab.data.sketch import row_digests
from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gates.retrieval import TIE

BATCH = 256
DOCUMENTS = 256
SLICE = 2048


def contrastive_scores(
    unit_WD: np.ndarray, windows: Windows, *, batch: int = BATCH, documents: int = DOCUMENTS, seed: int = 0
) -> dict[str, np.ndarray]:
    """1 or 0 a window, and the chance of it, by the name of who competes with the target.

    in_batch: the targets of a seeded batch of this size, of whichever documents; windows that no whole batch is left
    for are NaN. across_documents: one seeded target from each of at most so many documents, the window's own excepted.
    A candidate within 1e-6 of the target's cosine beats it, one equal to the target competes with nobody, and a
    window without a competitor is NaN. A prediction that is not finite scores 0.
    """
    content_W = row_digests(windows.vectors(windows.target_row_W))
    names = ("in_batch", "chance_in_batch", "across_documents", "chance_across_documents")
    scores = {name: np.full(len(windows), np.nan) for name in names}
    rng = np.random.default_rng([seed, 4])
    shuffled_W = rng.permutation(len(windows))
    size = min(batch, len(windows))
    for start in range(0, len(windows) - size + 1, max(size, 1)) if size else []:
        place_B = shuffled_W[start : start + size]
        rival_BB = content_W[place_B, None] != content_W[place_B]
        first_B, chance_B = _first(unit_WD, windows, place_B, place_B, rival_BB)
        scores["in_batch"][place_B], scores["chance_in_batch"][place_B] = first_B, chance_B
    pool_K = _one_a_document(windows.document_W, documents, rng)
    for start in range(0, len(windows), SLICE):
        place_B = np.arange(start, min(start + SLICE, len(windows)))
        rival_BK = windows.document_W[place_B, None] != windows.document_W[pool_K]
        rival_BK &= content_W[place_B, None] != content_W[pool_K]
        first_B, chance_B = _first(unit_WD, windows, place_B, pool_K, rival_BK)
        scores["across_documents"][place_B], scores["chance_across_documents"][place_B] = first_B, chance_B
    return scores


def _one_a_document(document_W: np.ndarray, documents: int, rng: np.random.Generator) -> np.ndarray:
    """The position of one window from each of at most so many documents, both at random."""
    shuffled_W = rng.permutation(len(document_W))
    first_K = np.unique(document_W[shuffled_W], return_index=True)[1]
    return shuffled_W[rng.permutation(first_K)[:documents]]


def _first(
    unit_WD: np.ndarray, windows: Windows, place_B: np.ndarray, pool_K: np.ndarray, rival_BK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the target comes before every rival in the pool, and the chance of it; NaN without a rival."""
    unit_BD = normalise(unit_WD[place_B])
    target_BD, pool_KD = (normalise(windows.vectors(windows.target_row_W[places])) for places in (place_B, pool_K))
    with np.errstate(invalid="ignore"):
        cos_B = np.einsum("bd,bd->b", unit_BD, target_BD)
        beaten_B = ((unit_BD @ pool_KD.T >= cos_B[:, None] - TIE) & rival_BK).any(axis=1) | ~np.isfinite(cos_B)
    rivals_B = rival_BK.sum(axis=1)
    none_B = rivals_B == 0
    return np.where(none_B, np.nan, ~beaten_B), np.where(none_B, np.nan, 1 / (rivals_B + 1))
