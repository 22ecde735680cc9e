"""What a chunker is: documents in, their chunks out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from lvm_lab.text.document import Chunked, Document

# Texts in, float32 N x D out, in their order: an encoder's `encode`.
Encode = Callable[[Sequence[str]], np.ndarray]


class Chunker(ABC):
    """`chunker=...` of an ingestion: its constructor takes the settings of conf/chunker/<name>.yaml."""

    @abstractmethod
    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        """The chunks of each document, in order; what becomes of one hangs on no other.

        encode: for chunkers that look at vectors; all documents come at once so that it has large batches.
        A document that is `chunked` keeps its paragraphs as its chunks.
        """
