"""A block on disk: vectors and what stands beside them in one .npz, written whole or not at all.

Shape suffixes: N chunks, D vector dim.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError
from lvm_lab.files import write_arrays
from lvm_lab.text.ingestion.chunking import Pieces
from lvm_lab.text.ingestion.encoding import Tokens

STAGES = ("reading", "chunking", "encoding", "writing")


@dataclass(frozen=True)
class Entry:
    """A document of a block. reading, chunking: in seconds."""

    id: str
    title: str
    source: str
    texts: list[str]
    lengths: list[int]
    coherence: list[float] | None
    reading: float
    chunking: float


@dataclass(frozen=True)
class Block:
    """A block of documents with their vectors. after: the place of the document behind it among all of the reader's.

    codes_N: the chunks' TMD codes, uint16. empty: documents that had no chunk. encoding: in seconds; writing: those of
    the block before it.
    """

    entries: list[Entry]
    vectors_ND: np.ndarray
    codes_N: np.ndarray
    after: int
    empty: int
    tokens: Tokens
    encoding: float
    writing: float = field(default=0.0)

    @classmethod
    def of(cls, pieces: Pieces, vectors_ND: np.ndarray, tokens: Tokens, encoding: float, writing: float) -> Block:
        entries = [
            Entry(
                piece.document.id,
                piece.document.title,
                piece.document.source,
                [*piece.chunked.texts],
                [*piece.chunked.lengths],
                None if piece.chunked.coherence is None else [float(c) for c in piece.chunked.coherence],
                piece.reading,
                piece.chunking,
            )
            for piece in pieces.pieces
        ]
        return cls(entries, vectors_ND, pieces.codes_N, pieces.after, pieces.empty, tokens, encoding, writing)

    def write(self, file: Path) -> None:
        beside = {
            "entries": [asdict(entry) for entry in self.entries],
            "after": self.after,
            "empty": self.empty,
            "tokens": asdict(self.tokens),
            "encoding": self.encoding,
            "writing": self.writing,
        }
        text = json.dumps(beside, ensure_ascii=False).encode(errors="surrogatepass")
        write_arrays(file, vectors=self.vectors_ND, codes=self.codes_N, beside=np.frombuffer(text, dtype=np.uint8))

    @property
    def coherent(self) -> bool:
        """Whether the chunker measured how coherent a stretch is."""
        return any(entry.coherence is not None for entry in self.entries)

    @property
    def coded(self) -> bool:
        """Whether a chunk has a TMD code."""
        return bool((self.codes_N != MISSING).any())

    @classmethod
    def read(cls, file: Path, vectors: bool = True) -> Block:
        """vectors: whether to read those too. Raises UserError for a file that somebody has damaged."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                node: dict[str, Any] = json.loads(arrays["beside"].tobytes().decode(errors="surrogatepass"))
                vectors_ND = arrays["vectors"] if vectors else np.empty((0, 0), np.float32)
                codes_N = arrays["codes"]
            entries = [Entry(**entry) for entry in node.pop("entries")]
            node |= {"tokens": Tokens(**node["tokens"])}
            return cls(entries=entries, vectors_ND=vectors_ND, codes_N=codes_N, **node)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{file} is damaged ({error}); delete the folder {file.parent.parent} and give the command again."
            ) from error
