"""Another chunker's chunks, in episodes: stretches in which each chunk is close to the next.

Shape suffixes: N chunks, D vector dim, P pairs of neighbours, N - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lvm_lab.config.targets import make, named
from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.cutting import at_least, untouched
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.neighbours import cosines


class Episodes(Chunker):
    """of: the chunker that makes the chunks, as its option says it. threshold: an episode ends where the cosine to the
    next chunk is below it. min_chunks: shorter episodes are dropped; a window of 5 vectors and its target needs 6.

    Each episode's mean cosine between neighbours is its coherence. The chunks of all documents are encoded in one
    call, and their vectors are handed on.
    """

    def __init__(self, of: dict[str, Any], threshold: float = 0.2, min_chunks: int = 6) -> None:
        at_least(-1, threshold=threshold)
        at_least(2, min_chunks=min_chunks)
        node = {key: value for key, value in of.items() if key != "name"}
        self.of: Chunker = make(node, "text.chunkers", "chunker.of", allow=named(node))
        self.threshold, self.min_chunks = threshold, min_chunks

    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        chunked = self.of.chunk(documents, encode)
        counts = [
            0 if document.chunked or one.vectors_ND is not None else len(one.texts)
            for document, one in zip(documents, chunked, strict=True)
        ]
        texts = [text for count, one in zip(counts, chunked, strict=True) for text in one.texts[:count]]
        vectors_ND = encode(texts) if texts else np.zeros((0, 1), np.float32)
        parts = np.split(vectors_ND, np.cumsum(counts)[:-1])
        return [
            untouched(document)
            if document.chunked
            else self._episodes(one, own_ND if one.vectors_ND is None else one.vectors_ND)
            for document, one, own_ND in zip(documents, chunked, parts, strict=True)
        ]

    def _episodes(self, chunked: Chunked, vectors_ND: np.ndarray) -> Chunked:
        cosine_P = cosines(vectors_ND)
        edges = np.unique([0, *np.cumsum(chunked.lengths), *np.flatnonzero(cosine_P < self.threshold) + 1]).tolist()
        kept = [(a, b) for a, b in pairwise(edges) if b - a >= self.min_chunks]
        rows = [row for a, b in kept for row in range(a, b)]
        return Chunked(
            tuple(chunked.texts[row] for row in rows),
            tuple(b - a for a, b in kept),
            tuple(float(cosine_P[a : b - 1].mean()) for a, b in kept),
            vectors_ND[rows],
        )
