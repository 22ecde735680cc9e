"""What an ingestion counted and how long it took, summed over blocks as they go by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvm_lab.text.ingestion.block_file import STAGES, Block
from lvm_lab.text.ingestion.encoding import Tokens
from lvm_lab.text.ingestion.shard import Done

# Documents that are listed as the slowest.
SLOWEST = 5
NO_CHUNK = "without a chunk"


@dataclass
class Tally:
    """Adds blocks up. documents, chunks: by source. seconds: a row a document and a column a stage."""

    documents: Counter[str] = field(default_factory=Counter)
    chunks: Counter[str] = field(default_factory=Counter)
    stretches: int = 0
    empty: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    opening: float = 0.0
    writing: float = 0.0
    longest: int = 0
    seconds: list[list[float]] = field(default_factory=list)
    names: list[tuple[str, str, int]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        self.tokens += block.tokens
        self.empty += block.empty
        self.writing += block.writing
        block_chunks = sum(len(entry.texts) for entry in block.entries)
        for entry in block.entries:
            chunks = len(entry.texts)
            self.documents[entry.source] += 1
            self.chunks[entry.source] += chunks
            self.stretches += len(entry.lengths)
            self.longest = max(self.longest, *entry.lengths)
            encoding = block.encoding * chunks / block_chunks
            self.seconds.append([entry.reading, entry.chunking, encoding, 0.0])
            self.names.append((entry.source, entry.id, chunks))

    def end(self, done: Done, seconds: float) -> None:
        """A shard's end. seconds: what writing its part took."""
        self.opening += done.opening
        self.writing += done.writing + seconds
        # Every shard's reader goes by all documents.
        self.skipped = {reason: max(self.skipped.get(reason, 0), count) for reason, count in done.skipped.items()}

    @property
    def left_out(self) -> dict[str, int]:
        """Reason to number of documents."""
        return self.skipped | ({NO_CHUNK: self.empty} if self.empty else {})

    def to_dict(self, limit: int | None) -> dict[str, Any]:
        """limit: the most tokens of a chunk that enter the encoder."""
        chunks = self.chunks.total()
        stages = self._stages()
        total = sum(stage["seconds"] for stage in stages.values())
        return {
            "documents": self.documents.total(),
            "stretches": self.stretches,
            "chunks": chunks,
            "longest_stretch": self.longest,
            "tokens": self.tokens.total,
            "token_limit": limit,
            "cut_chunks": self.tokens.cut,
            "cut_share": self.tokens.cut / chunks if chunks else 0.0,
            "left_out": self.left_out,
            "sources": {
                source: {"documents": self.documents[source], "chunks": self.chunks[source]}
                for source in sorted(self.documents)
            },
            "seconds": total,
            "chunks_per_second": chunks / total if total else None,
            "stages": stages,
            "slowest": self._slowest(),
        }

    def _stages(self) -> dict[str, dict[str, float]]:
        seconds_NS = self._seconds()
        return {
            stage: {
                "seconds": float(column_N.sum()),
                "per_document": float(column_N.mean()),
                "median": float(np.median(column_N)),
                "p95": float(np.quantile(column_N, 0.95)),
            }
            for stage, column_N in zip(STAGES, seconds_NS.T, strict=True)
        }

    def _seconds(self) -> np.ndarray:
        """N documents x S stages; what is done a block at once is a document's share by its chunks."""
        seconds_NS = np.array(self.seconds, dtype=np.float64).reshape(-1, len(STAGES))
        chunks_N = np.array([chunks for *_, chunks in self.names], dtype=np.float64)
        seconds_NS[:, STAGES.index("reading")] += self.opening / max(1, len(self.seconds))
        seconds_NS[:, STAGES.index("writing")] = self.writing * chunks_N / max(1.0, chunks_N.sum())
        return seconds_NS

    def _slowest(self) -> list[dict[str, Any]]:
        total_N = self._seconds().sum(axis=1)
        order = np.argsort(-total_N, kind="stable")[:SLOWEST]
        return [
            {"source": source, "id": ident, "chunks": chunks, "seconds": float(total_N[place])}
            for place in order
            for source, ident, chunks in [self.names[place]]
        ]
