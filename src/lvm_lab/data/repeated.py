"""Which rows stand word for word in several documents: licences and boilerplate are no targets and no negatives."""

from __future__ import annotations

import numpy as np

from lvm_lab.data.store import Rows, Store


def row_digests(vectors_ND: Rows, dtype: type | None = None) -> np.ndarray:
    """One 64-bit hash a row, in this dtype or its own; equal vectors have equal hashes."""
    digests = np.empty(len(vectors_ND), dtype=np.int64)
    for first in range(0, len(vectors_ND), 16_384):
        part = np.ascontiguousarray(vectors_ND[first : first + 16_384], dtype=dtype)
        digests[first : first + len(part)] = [hash(row.tobytes()) for row in part]
    return digests


def repeated_rows(store: Store) -> np.ndarray:
    """A mask over the store's rows: true where the chunk also stands in another document.

    By text where the store has texts, else by equal vectors (an encoder gives equal texts equal
    vectors but for rounding, so a few repeats are missed).
    """
    digests = row_digests(store.vectors_ND)
    texts = store.texts()
    if texts is not None:
        # A sequence file names only its targets' texts: a chunk without one keeps its vector's digest.
        digests = np.array([hash(t) if t else d for t, d in zip(texts, digests, strict=True)], dtype=np.int64)
    document_N = np.full(len(digests), -1, dtype=np.int64)
    documents = store.documents
    for number, start, length in zip(documents.numbers(), documents.start, documents.length, strict=True):
        document_N[start : start + length] = number
    _, inverse = np.unique(digests, return_inverse=True)
    lowest = np.full(inverse.max() + 1, np.iinfo(np.int64).max)
    highest = np.full(inverse.max() + 1, -1)
    np.minimum.at(lowest, inverse, document_N)
    np.maximum.at(highest, inverse, document_N)
    return (lowest != highest)[inverse]
