"""Windows that name no documents, glued to documents where they overlap, or kept together where they share a vector.

Shape suffixes: W windows of the file, U different windows, L context length, P = L + 1 positions of a window, D vector
dim, R rows of the store.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from lvm_lab.data.sketch import row_digests

# Windows are every s-th of their documents where nearly all links are of one stride, and most windows have one.
ONE_STRIDE, LINKED = 0.95, 0.5
UNKNOWN = (
    "it names no documents (no article_ids) and its windows do not follow each other at one distance; those that share "
    "a vector are kept in one part"
)


@dataclass(frozen=True)
class Chains:
    """Documents as their windows tell them.

    row_WP: the store's row of every place of every window. start_S, length_S: the stretches. names_S: the document of
    each, by its content, so that other documents beside it move it to no other part.
    """

    row_WP: np.ndarray
    start_S: np.ndarray
    length_S: np.ndarray
    names_S: list[str]


def chunk_numbers(digest_WP: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(number_WP, digest_V): the different vectors of the windows counted through, and the digest of each."""
    digest_V, number = np.unique(digest_WP, return_inverse=True)
    return number.reshape(digest_WP.shape), digest_V


def digests(vectors: np.ndarray) -> np.ndarray:
    """A digest of each vector along the last axis, of shape vectors.shape[:-1]."""
    return row_digests(vectors.reshape(-1, vectors.shape[-1])).reshape(vectors.shape[:-1])


def chains(number_WP: np.ndarray, digest_V: np.ndarray) -> Chains | None:
    """Windows one after the other where the end of one is the beginning of the next; None where they are not.

    A window follows another where it begins with the other's last vectors, as many as can be; where two might follow,
    none does, and both are of one document.
    """
    windows_UP, number_W = np.unique(number_WP, axis=0, return_inverse=True)
    count, places = windows_UP.shape
    next_U, stride_U = np.full(count, -1), np.zeros(count, dtype=np.int64)
    has_previous_U = np.zeros(count, dtype=bool)
    alike: list[np.ndarray] = []
    for shared in range(places - 1, 0, -1):
        ends, starts = np.flatnonzero(next_U < 0), np.flatnonzero(~has_previous_U)
        one_P, other_P, single_P = _matches(windows_UP[ends, places - shared :], windows_UP[starts, :shared])
        one_P, other_P = ends[one_P], starts[other_P]
        alike.append(np.stack([one_P, other_P]))
        one_P, other_P = one_P[single_P], other_P[single_P]
        next_U[one_P], stride_U[one_P] = other_P, places - shared
        has_previous_U[other_P] = True
    strides, links = np.unique(stride_U[next_U >= 0], return_counts=True)
    if not len(links) or links.max() < ONE_STRIDE * links.sum():
        return None
    # What overlaps by another length is a chunk that two passages share, or a window that is missing between them.
    next_U[stride_U != strides[links.argmax()]] = -1
    linked_U = next_U >= 0
    linked_U[next_U[next_U >= 0]] = True
    if linked_U.mean() < LINKED:
        return None
    return _lay_out(windows_UP, number_W.ravel(), next_U, int(strides[links.argmax()]), np.hstack(alike), digest_V)


def components(number_WP: np.ndarray, digest_V: np.ndarray) -> list[str]:
    """The name of each window's component: windows that share a vector, directly or by others, have one name."""
    count, places = number_WP.shape
    window_N, number_N = np.repeat(np.arange(count), places), number_WP.ravel()
    component_U = _connected(window_N, number_N + count, count + len(digest_V))
    component_W = np.unique(component_U[:count], return_inverse=True)[1]
    by_component = names(component_W[window_N], number_N, digest_V)
    return [by_component[i] for i in component_W.tolist()]


def _matches(end_UM: np.ndarray, start_UM: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (end, start) of equal rows, each end and each start at least once, and which pairs have no rival."""
    _, key = np.unique(np.concatenate([end_UM, start_UM]), axis=0, return_inverse=True)
    key_E, key_S = np.split(key.ravel(), [len(end_UM)])
    keys = int(key.max(initial=0)) + 1
    ends, starts = (np.bincount(of, minlength=keys) for of in (key_E, key_S))
    first_end, first_start = np.zeros((2, keys), dtype=np.int64)
    first_end[key_E[::-1]] = np.arange(len(key_E))[::-1]
    first_start[key_S[::-1]] = np.arange(len(key_S))[::-1]
    end_P, start_P = np.flatnonzero(starts[key_E] > 0), np.flatnonzero(ends[key_S] > 0)
    # Of several rivals the first stands for all: they are of one document.
    one_P = np.concatenate([end_P, first_end[key_S[start_P]]])
    other_P = np.concatenate([first_start[key_E[end_P]], start_P])
    key_P = key_E[one_P]
    return one_P, other_P, (ends[key_P] == 1) & (starts[key_P] == 1)


def _lay_out(
    windows_UP: np.ndarray,
    number_W: np.ndarray,
    next_U: np.ndarray,
    stride: int,
    alike_2P: np.ndarray,
    digest_V: np.ndarray,
) -> Chains | None:
    """Rows for every chain of windows, one after the other."""
    count, places = windows_UP.shape
    first_row_U, chain_U = np.full(count, -1), np.full(count, -1)
    starts, lengths = [], []
    row = 0
    for first in np.setdiff1d(np.arange(count), next_U[next_U >= 0]).tolist():
        starts.append(row)
        window, chain = first, len(starts) - 1
        while window >= 0:
            first_row_U[window], chain_U[window] = row, chain
            window, row = int(next_U[window]), row + stride
        row += places - stride
        lengths.append(row - starts[-1])
    if (first_row_U < 0).any():
        return None  # a text that comes back to its beginning has no first window
    one_P, other_P = chain_U[alike_2P]
    document_S = _connected(one_P, other_P, len(starts))
    by_document = names(np.repeat(document_S[chain_U], places), windows_UP.ravel(), digest_V)
    row_UP = first_row_U[:, None] + np.arange(places)
    return Chains(row_UP[number_W], np.array(starts), np.array(lengths), [by_document[i] for i in document_S.tolist()])


def _connected(one_P: np.ndarray, other_P: np.ndarray, count: int) -> np.ndarray:
    """The component of each of `count` nodes, by the pairs of nodes that an edge connects."""
    # SciPy comes in only now: nearly every file names its documents.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(one_P)), (one_P, other_P)), shape=(count, count))
    component: np.ndarray = connected_components(edges, directed=False)[1]
    return component


def names(group_N: np.ndarray, number_N: np.ndarray, digest_V: np.ndarray) -> list[str]:
    """A name for each group of vectors, by all that are in it."""
    order = np.lexsort((digest_V[number_N], group_N))
    edges = np.flatnonzero(np.diff(group_N[order])) + 1
    groups = np.split(digest_V[number_N[order]], edges)
    return [hashlib.sha256(np.unique(group).tobytes()).hexdigest()[:16] for group in groups]
