"""Where the windows of a sequence file lie in documents, by what is said of them, and whether that can be.

Shape suffixes: W windows of the file, L context length, P = L + 1 positions of a window, S stretches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvm_lab.data.importers import gluing

PLACE, ROW = "the chunk's place in its document", "the row of one bank"


@dataclass(frozen=True)
class Laid:
    """row_WP: the store's row of every place of every window. start_S, length_S, article_S: the stretches."""

    row_WP: np.ndarray
    start_S: np.ndarray
    length_S: np.ndarray
    article_S: np.ndarray


def ending_at(end_W: np.ndarray, length: int) -> np.ndarray:
    return end_W[:, None] + np.arange(-length, 1)


def meaning(article_W: np.ndarray, target_W: np.ndarray, length: int) -> str:
    """Whether places that the vectors agree with are counted through all documents or anew in each."""
    articles, article = np.unique(article_W, return_inverse=True)
    first, last = np.full(len(articles), np.iinfo(np.int64).max), np.zeros(len(articles), dtype=np.int64)
    np.minimum.at(first, article, target_W - length)
    np.maximum.at(last, article, target_W)
    order = np.argsort(first)
    return ROW if len(articles) > 1 and (first[order][1:] > last[order][:-1]).all() else PLACE


def grows(chains: gluing.Chains, target_W: np.ndarray) -> bool:
    """Whether nearly all windows have a larger index than the one before them in their document."""
    row_W = chains.row_WP[:, -1]
    order = np.argsort(row_W)
    stretch = np.searchsorted(chains.start_S, row_W[order], side="right")
    pairs = (np.diff(stretch) == 0) & (np.diff(row_W[order]) > 0)
    grown = np.diff(target_W[order])[pairs] > 0
    return grown.mean() >= gluing.ONE_STRIDE if len(grown) else True


@dataclass(frozen=True)
class Following:
    """Windows in an order, of which one follows another where its beginning is the other's end.

    end_W: the place of each window's target; what does not follow lies apart. any: whether windows follow.
    fits: whether most do, and hardly any the other way round.
    """

    end_W: np.ndarray
    any: bool
    fits: bool


def follow(digest_WP: np.ndarray, article_W: np.ndarray, order_W: np.ndarray) -> Following:
    """How windows of one article follow each other in this order."""
    places = digest_WP.shape[1]
    before, after = order_W[:-1], order_W[1:]
    same = article_W[before] == article_W[after]
    shared = np.where(same, _shared(digest_WP[before], digest_WP[after]), 0)
    back = np.where(same, _shared(digest_WP[after], digest_WP[before]), 0)
    links, backward = np.count_nonzero(shared), np.count_nonzero((back > shared) & (back < places))
    step = np.where(shared > 0, places - shared, places + 1)
    end_W = np.empty(len(order_W), dtype=np.int64)
    end_W[order_W] = np.concatenate([[0], np.cumsum(step)])
    fits = links >= gluing.LINKED * np.count_nonzero(same) and backward <= (1 - gluing.ONE_STRIDE) * links
    return Following(end_W, bool(links), bool(fits))


def _shared(ends_KP: np.ndarray, starts_KP: np.ndarray) -> np.ndarray:
    """How many of the last vectors of one are the first of the other, at most."""
    places = ends_KP.shape[1]
    shared_K = np.zeros(len(ends_KP), dtype=np.int64)
    for count in range(1, places + 1):
        shared_K[(ends_KP[:, places - count :] == starts_KP[:, :count]).all(axis=1)] = count
    return shared_K


def lay_out(position_WP: np.ndarray, article_W: np.ndarray, *, adjacent: bool = True) -> Laid | None:
    """Rows for every place that a window names; None where the places of a window are not one after the other.

    adjacent: whether places of one article that stand side by side are of one stretch where no window holds both.
    """
    articles, article = np.unique(article_W, return_inverse=True)
    positions, position = np.unique(position_WP, return_inverse=True)
    keys_WP = article[:, None] * len(positions) + position.reshape(position_WP.shape)
    keys_S, slot = np.unique(keys_WP, return_inverse=True)
    slot_WP = slot.reshape(position_WP.shape)
    if np.any(np.diff(slot_WP, axis=1) != 1):
        return None
    article_S, position_S = keys_S // len(positions), positions[keys_S % len(positions)]
    continues_S = np.zeros(len(keys_S), dtype=bool)
    continues_S[slot_WP[:, 1:]] = True
    if adjacent:
        continues_S[1:] |= (np.diff(article_S) == 0) & (np.diff(position_S) == 1)
    start = np.flatnonzero(~continues_S)
    return Laid(slot_WP, start, np.diff([*start, len(keys_S)]), articles[article_S[start]])
