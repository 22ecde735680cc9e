"""Documents to blocks of chunks, cut by position alone, so that every way to the same document cuts the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.ingestion.reading import Read, call, told

# Characters that are chunked at once, for each chunk of a block: about a quarter of a block of usual chunks.
CHARACTERS = 50


@dataclass(frozen=True)
class Piece:
    """A document with its chunks, and what reading and chunking it took, in seconds."""

    document: Document
    chunked: Chunked
    reading: float
    chunking: float

    @property
    def codes_N(self) -> np.ndarray:
        """The chunks' TMD codes: the document's, unless a chunker has cut it anew."""
        codes_N, chunks = self.document.codes_N, self.chunked.texts
        if codes_N is None or chunks != self.document.paragraphs:
            return np.full(len(chunks), MISSING, np.uint16)
        return codes_N


@dataclass(frozen=True)
class Pieces:
    """The documents of a block. after: the place of the document behind it; empty: how many had no chunk."""

    pieces: tuple[Piece, ...]
    after: int
    empty: int

    @property
    def texts(self) -> list[str]:
        return [text for piece in self.pieces for text in piece.chunked.texts]

    @property
    def codes_N(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.uint16), *(piece.codes_N for piece in self.pieces)])


def blocks(
    documents: Iterator[Read], chunker: Chunker, encode: Encode, size: int, stored: bool = False
) -> Iterator[Pieces]:
    """Blocks of at least `size` chunks, but for the last one.

    Documents are chunked a portion at a time, which begins anew with each block and is cut by its characters: what is
    chunked together, and with it the last digit of what a chunker measures, does not hang on where an ingestion began.
    stored: documents' own vectors are those that are wanted.
    """
    pieces: list[Piece] = []
    chunks = empty = after = 0
    for portion in _portions(documents, CHARACTERS * size):
        made = chunk([one.document for one in portion], chunker, encode, [one.seconds for one in portion], stored)
        whole = [piece for piece in made if piece.chunked.texts]
        pieces += whole
        empty += len(made) - len(whole)
        chunks += sum(len(piece.chunked.texts) for piece in whole)
        after = portion[-1].position + 1
        if chunks >= size:
            yield Pieces(tuple(pieces), after, empty)
            pieces, chunks, empty = [], 0, 0
    if pieces or empty:
        yield Pieces(tuple(pieces), after, empty)


def chunk(
    documents: Sequence[Document], chunker: Chunker, encode: Encode, reading: Sequence[float], stored: bool = False
) -> list[Piece]:
    """The documents with their chunks. Raises UserError for what is no cut of them."""
    if not stored:
        # They are another encoder's, and chunkers hand them on.
        documents = [replace(document, vectors_ND=None) for document in documents]
    since = time.perf_counter()
    where = f"between {told(documents[0])} and {documents[-1].id!r}"
    chunks = call(lambda: chunker.chunk(documents, encode), "the chunker", where)
    seconds = time.perf_counter() - since
    if len(chunks) != len(documents):
        raise UserError(f"the chunker gave {len(chunks)} results for {len(documents)} documents; mend it.")
    total = sum(map(_characters, documents))
    pieces = []
    for document, chunked, read in zip(documents, chunks, reading, strict=True):
        _check(document, chunked)
        pieces.append(Piece(document, chunked, read, seconds * _characters(document) / total))
    return pieces


def _portions(documents: Iterator[Read], characters: int) -> Iterator[list[Read]]:
    portion: list[Read] = []
    count = 0
    for one in documents:
        portion.append(one)
        count += _characters(one.document)
        if count >= characters:
            yield portion
            portion, count = [], 0
    if portion:
        yield portion


def _characters(document: Document) -> int:
    return 1 + sum(map(len, document.paragraphs))


def _check(document: Document, chunked: Chunked) -> None:
    count, lengths = len(chunked.texts), chunked.lengths
    flaw = None
    if sum(lengths) != count or any(length < 1 for length in lengths):
        flaw = f"lengths {lengths} for {count} chunks"
    elif document.vectors_ND is None and not all(text.strip() for text in chunked.texts):
        flaw = "a chunk without text"
    elif chunked.coherence is not None and len(chunked.coherence) != len(lengths):
        flaw = f"{len(chunked.coherence)} coherences for {len(lengths)} stretches"
    if flaw:
        raise UserError(f"the chunker gave {flaw} in {told(document)}; mend it, or choose another chunker.")
