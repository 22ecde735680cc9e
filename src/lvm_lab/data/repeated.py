"""Which chunks stand in several documents: by their text or by their vector, whatever file and precision they are in.

Shape suffixes: N rows of a store, M rows of another, D vector dim, G distinct vectors, P pairs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvm_lab.data.rows import Rows
from lvm_lab.data.sketch import LEAST_DIM, VERSION, near_codes, row_digests, sign_codes, text_digests
from lvm_lab.data.store import Store
from lvm_lab.files import write_arrays

# Vectors of one chunk, encoded or rounded in another way; neighbours in a text are below .98, but for headings.
SAME = 0.999
# Suspects by their codes: at cos .999 one pair in 2,000 differs in more bits of 256, and noise of 1e-3 makes .9998.
SUSPECT_BITS = 11


@dataclass(frozen=True)
class Chunks:
    """A store's rows as they are compared. text_N: digests of texts, 0 for none; document_N: -1 outside documents."""

    vectors_ND: Rows
    text_N: np.ndarray | None
    document_N: np.ndarray

    @classmethod
    def of(cls, store: Store) -> Chunks:
        document_N = store.documents.by_row(len(store.vectors_ND))
        return cls(store.vectors_ND, text_digests(store.texts()), document_N)


def repeated_rows(store: Store, cache: Path | None = None, chunks: Chunks | None = None) -> np.ndarray:
    """A mask over the store's rows: true where the chunk also stands in another document.

    The same chunk is one of the same text (but for case, spaces and forms of characters) or of a vector with
    cos > .999; below 8 dimensions, where chance brings vectors that near, of an equal vector. Suspects come from sign
    codes, so that no two rows of a large store have to be multiplied. cache: a folder to keep the mask in, by content.
    chunks: the store's, where they are at hand.
    """
    chunks = Chunks.of(store) if chunks is None else chunks
    texts = b"" if chunks.text_N is None else chunks.text_N.tobytes()
    key = hashlib.sha256(f"{VERSION} {SAME} {SUSPECT_BITS} {store.content}".encode() + texts).hexdigest()[:32]
    file = None if cache is None else cache / f"repeated-{key}.npz"
    if file is not None and file.exists():
        with np.load(file, allow_pickle=False) as kept:
            mask_N: np.ndarray = kept["repeated"]
            return mask_N
    repeated_N = repeated_of(chunks)
    if file is not None:
        write_arrays(file, repeated=repeated_N)
    return repeated_N


def rows_within(mine: Chunks, others: Chunks, among_M: np.ndarray | None = None) -> np.ndarray:
    """A mask over the rows of one store: true where the chunk stands in another store too. among_M: a mask over the
    other's rows, those that count."""
    rows_M = np.arange(len(others.vectors_ND)) if among_M is None else np.flatnonzero(among_M)
    within_N = np.zeros(len(mine.vectors_ND), dtype=bool)
    if mine.text_N is not None and others.text_N is not None:
        within_N |= (mine.text_N != 0) & np.isin(mine.text_N, others.text_N[rows_M])
    if mine.vectors_ND.shape[1] < LEAST_DIM:
        both = (row_digests(chunks.vectors_ND, np.float16) for chunks in (mine, others))
        mine_N, others_M = both
        return within_N | np.isin(mine_N, others_M[rows_M])
    codes_NC, codes_MC = sign_codes(mine.vectors_ND), sign_codes(others.vectors_ND, rows_M)
    codes_MC, first_M = np.unique(codes_MC, axis=0, return_index=True)
    for near_P, other_P in near_codes(codes_NC, codes_MC, SUSPECT_BITS):
        new_P = ~within_N[near_P]
        near_P, other_P = near_P[new_P], rows_M[first_M[other_P[new_P]]]
        same_P = _same(mine.vectors_ND, near_P, others.vectors_ND, other_P)
        within_N[near_P[same_P]] = True
    return within_N


def repeated_of(chunks: Chunks) -> np.ndarray:
    """As `repeated_rows`, of chunks that no store needs to hold."""
    _, first_G, vector_N = np.unique(row_digests(chunks.vectors_ND), return_index=True, return_inverse=True)
    lowest_G, highest_G = _documents(vector_N, chunks.document_N)
    repeated_G = lowest_G != highest_G
    if chunks.vectors_ND.shape[1] >= LEAST_DIM:
        codes_GC = sign_codes(chunks.vectors_ND, first_G)
        for one_P, other_P in near_codes(codes_GC, codes_GC, SUSPECT_BITS):
            # A chunk that stands in a hundred documents has ten thousand pairs, and one of each row is enough.
            new_P = (one_P < other_P) & ~(repeated_G[one_P] & repeated_G[other_P])
            new_P &= (lowest_G[one_P] != highest_G[other_P]) | (highest_G[one_P] != lowest_G[other_P])
            one_P, other_P = one_P[new_P], other_P[new_P]
            same_P = _same(chunks.vectors_ND, first_G[one_P], chunks.vectors_ND, first_G[other_P])
            repeated_G[one_P[same_P]] = repeated_G[other_P[same_P]] = True
    repeated_N: np.ndarray = repeated_G[vector_N]
    if chunks.text_N is not None:
        _, text_N = np.unique(chunks.text_N, return_inverse=True)
        lowest, highest = _documents(text_N, chunks.document_N)
        repeated_N |= (chunks.text_N != 0) & (lowest != highest)[text_N]
    return repeated_N


def _documents(group_N: np.ndarray, document_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest document of each group of rows."""
    lowest = np.full(group_N.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(group_N.max() + 1, -1)
    np.minimum.at(lowest, group_N, document_N)
    np.maximum.at(highest, group_N, document_N)
    return lowest, highest


def _same(mine_ND: Rows, near_P: np.ndarray, others_MD: Rows, other_P: np.ndarray) -> np.ndarray:
    """Which pairs of rows have cos > .999."""
    same_P = np.zeros(len(near_P), dtype=bool)
    for first in range(0, len(near_P), 8192):
        pairs = slice(first, first + 8192)
        a_PD, b_PD = (
            np.asarray(rows[of[pairs]], dtype=np.float32) for rows, of in ((mine_ND, near_P), (others_MD, other_P))
        )
        norms_P = np.linalg.norm(a_PD, axis=1) * np.linalg.norm(b_PD, axis=1)
        same_P[pairs] = np.einsum("pd,pd->p", a_PD, b_PD) > SAME * norms_P
    return same_P
