"""What a dry run of an ingestion says: how many documents and chunks there are, and how long it would take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.ingestion.chunking import Piece, chunk
from lvm_lab.text.ingestion.encoding import Encoding, Tokens
from lvm_lab.text.ingestion.reading import Read, read
from lvm_lab.text.reader import Reader

# Documents that are chunked at once, chunks that are encoded to measure.
PORTION, SAMPLE = 32, 256


class _Counting:
    """An encoder's `encode` that knows whether it was called."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding, self.called = encoding, False

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.called = True
        return self.encoding(texts)


def estimate(reader: Reader, chunker: Chunker, encoding: Encoding, shards: int) -> dict[str, Any]:
    """All documents are read. All are chunked too, unless the chunker itself encodes: then a first portion of them is,
    and the rest is told by its characters. The time is that of a sample of chunks, by its tokens.

    Raises UserError where there is nothing to measure.
    """
    started = time.perf_counter()
    counting = _Counting(encoding)
    documents = read(reader)
    pieces = _chunked([*islice(documents, PORTION)], chunker, counting)
    texts = [text for piece in pieces for text in piece.chunked.texts]
    if not texts:
        raise UserError("the first documents have no chunk; bring other texts, or choose another chunker.")
    tokens_first = encoding.tokens(texts)
    characters_first = characters = sum(map(_characters, pieces))
    chunking = sum(piece.chunking for piece in pieces)
    count, chunks, tokens = len(pieces), len(texts), tokens_first
    for portion in _portions(documents):
        count += len(portion)
        characters += sum(len(text) for one in portion for text in one.document.paragraphs)
        if not counting.called:
            pieces = _chunked(portion, chunker, counting)
            more = [text for piece in pieces for text in piece.chunked.texts]
            chunks, tokens = chunks + len(more), tokens + encoding.tokens(more)
    reading = time.perf_counter() - started
    per_token = 0.0 if encoding.stored else _seconds_per_token(texts[:SAMPLE], encoding)
    scale = characters / max(1, characters_first) if counting.called else 1.0
    if counting.called:
        chunks, tokens = round(chunks * scale), _scaled(tokens_first, scale)
        reading += chunking * (scale - 1)
    seconds = reading + per_token * tokens.entering
    return {
        "documents": count,
        "chunks": chunks,
        "chunks_estimated": counting.called,
        "tokens": tokens.total,
        "token_limit": encoding.encoder.limit,
        "cut_share": tokens.cut / max(1, chunks),
        "left_out": reader.skipped(),
        "chunks_per_second": chunks / seconds,
        "shards": shards,
        "seconds": seconds / shards,
        "bytes": chunks * encoding.contract.dim * np.dtype(encoding.dtype).itemsize,
    }


def _chunked(portion: list[Read], chunker: Chunker, encode: _Counting) -> list[Piece]:
    if not portion:
        raise UserError("the reader gives no document; bring texts.")
    documents, seconds = [one.document for one in portion], [one.seconds for one in portion]
    return chunk(documents, chunker, encode, seconds, encode.encoding.stored)


def _portions(documents: Iterator[Read]) -> Iterator[list[Read]]:
    for first in documents:
        yield [*chain([first], islice(documents, PORTION - 1))]


def _characters(piece: Piece) -> int:
    return sum(map(len, piece.document.paragraphs))


def _seconds_per_token(texts: Sequence[str], encoding: Encoding) -> float:
    entering = encoding.tokens(texts).entering
    since = time.perf_counter()
    encoding(texts)
    return (time.perf_counter() - since) / max(1, entering)


def _scaled(tokens: Tokens, scale: float) -> Tokens:
    return Tokens(round(tokens.total * scale), round(tokens.cut * scale), round(tokens.entering * scale))
