"""A boundary where the meaning turns: where the cosine between neighbouring sentences drops.

Shape suffixes: N sentences, D vector dim, P pairs of neighbours, N - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvm_lab.config.binding import written
from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.cutting import at_least, untouched, whole
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.neighbours import cosines
from lvm_lab.text.sentences import split_all


@dataclass(frozen=True)
class Semantic(Chunker):
    """percentile: this share of a document's pairs of neighbours, those with the lowest cosines, are boundaries; or
    threshold: every pair below this cosine is. One of the two is null.

    min_characters: no boundary ends a shorter chunk. max_characters: a chunk ends before it gets longer (null: never).
    language: as of chunker=sentences. Paragraphs do not matter. The sentences of all documents are encoded in one call.
    """

    percentile: float | None = 30.0
    threshold: float | None = None
    min_characters: int = 100
    max_characters: int | None = 600
    language: str = "en"

    def __post_init__(self) -> None:
        if (self.percentile is None) == (self.threshold is None):
            raise UserError(
                f"chunker.percentile={written(self.percentile)} and chunker.threshold={written(self.threshold)} say "
                "twice, or not at all, where a boundary is; set one of them to null and the other to a number."
            )
        at_least(0, percentile=self.percentile, min_characters=self.min_characters)
        at_least(-1, threshold=self.threshold)
        at_least(1, max_characters=self.max_characters)
        if (self.percentile or 0) > 100:
            raise UserError(f"chunker.percentile={self.percentile} does not fit; give it a number from 0 to 100.")

    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        sentences = [[] if one.chunked else split_all(one.paragraphs, self.language) for one in documents]
        # A single sentence is a chunk whatever its vector is.
        asked = [several if len(several) > 1 else [] for several in sentences]
        texts = [sentence.strip() for several in asked for sentence in several]
        vectors_ND = encode(texts) if texts else np.zeros((0, 1), np.float32)
        ends = np.cumsum([len(several) for several in asked])[:-1]
        return [
            untouched(document) if document.chunked else whole(self._packed(several, own_ND))
            for document, several, own_ND in zip(documents, sentences, np.split(vectors_ND, ends), strict=True)
        ]

    def _packed(self, sentences: list[str], vectors_ND: np.ndarray) -> list[str]:
        boundary_P = self._boundaries(cosines(vectors_ND))
        chunks = sentences[:1]
        for sentence, boundary in zip(sentences[1:], boundary_P, strict=True):
            turned = boundary and len(chunks[-1].strip()) >= self.min_characters
            full = self.max_characters is not None and len((chunks[-1] + sentence).strip()) > self.max_characters
            if turned or full:
                chunks.append(sentence)
            else:
                chunks[-1] += sentence
        return [chunk.strip() for chunk in chunks]

    def _boundaries(self, cosine_P: np.ndarray) -> np.ndarray:
        if self.threshold is not None:
            return cosine_P < self.threshold
        assert self.percentile is not None
        boundary_P = np.zeros(len(cosine_P), dtype=bool)
        # By rank and not by value: a last digit of a cosine moves no edge, and of equal ones the first counts.
        lowest = np.argsort(cosine_P, kind="stable")[: round(len(cosine_P) * self.percentile / 100)]
        boundary_P[lowest] = True
        return boundary_P
