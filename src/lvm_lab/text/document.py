"""A document as a reader gives it and as a chunker leaves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Document:
    """A text in order.

    id: unique within its source; (source, id) decides the part that the document is in. source: its collection.
    paragraphs: not empty, stripped, in order; empty strings only where a place has vectors and no texts.
    chunked: they are chunks already, which no chunker cuts or joins.
    vectors_ND: the paragraphs' vectors where the place has them, for `encoder=stored`. codes_N: their TMD codes, uint16
    (`lvm_lab.data.tmd.MISSING` where one has none), which go with chunks that are these paragraphs.
    """

    id: str
    title: str
    source: str
    paragraphs: tuple[str, ...]
    chunked: bool = False
    vectors_ND: np.ndarray | None = None
    codes_N: np.ndarray | None = None


@dataclass(frozen=True)
class Chunked:
    """A document's chunks.

    texts: one a chunk, in order. lengths: how many consecutive chunks each unbroken stretch of the document has (an
    episode, or all of them); windows cross no stretch; without any the document is dropped. coherence: a stretch's mean
    cosine between neighbours, where the chunker measured it. vectors_ND: the chunks' vectors, where the chunker had to
    make just these.
    """

    texts: tuple[str, ...]
    lengths: tuple[int, ...]
    coherence: tuple[float, ...] | None = None
    vectors_ND: np.ndarray | None = None
