"""A shard's documents to blocks on disk, from where an earlier process stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from lvm_lab.text.chunker import Chunker
from lvm_lab.text.ingestion.block_file import Block
from lvm_lab.text.ingestion.chunking import Pieces, blocks
from lvm_lab.text.ingestion.encoding import Encoding
from lvm_lab.text.ingestion.reading import call, read
from lvm_lab.text.ingestion.shard import Done, Shard
from lvm_lab.text.reader import Reader

# Documents and chunks of a block that is there now.
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Pipeline:
    """What texts go through. size: the chunks of a block. opening: seconds that the reader took before it read."""

    reader: Reader
    chunker: Chunker
    encoding: Encoding
    size: int
    opening: float


def work(
    pipeline: Pipeline,
    shard: Shard,
    number: int,
    shards: int,
    advance: Advance,
    present: Collection[str] = frozenset(),
    out: str = "",
) -> None:
    """Make what is missing of a shard's blocks; present, out: as in `read`."""
    if shard.done() is not None:
        return
    count, last = shard.kept()
    documents = read(pipeline.reader, last.after if last else 0, number, shards, present, out)
    writing = 0.0
    encoding = pipeline.encoding
    for pieces in blocks(documents, pipeline.chunker, encoding, pipeline.size, encoding.stored):
        block = _encoded(pieces, encoding, writing)
        since = time.perf_counter()
        shard.write(count, block)
        writing = time.perf_counter() - since
        count += 1
        advance(len(pieces.pieces), len(block.vectors_ND))
    origins = [asdict(origin) for origin in call(pipeline.reader.origins, "the reader")]
    shard.finish(Done(count, call(pipeline.reader.skipped, "the reader"), origins, writing, pipeline.opening))


def _encoded(pieces: Pieces, encoding: Encoding, writing: float) -> Block:
    since = time.perf_counter()
    tokens = encoding.tokens(pieces.texts)
    vectors_ND = encoding.of_block(pieces)
    return Block.of(pieces, vectors_ND, tokens, time.perf_counter() - since, writing)
