"""An encoder at work: vectors held against its contract, the threads that it may take, its probes.

Shape suffixes: N texts or chunks, D vector dim.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.data.contract import PROBES, EncoderContract
from lvm_lab.data.flaws import flaw
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import FIRST_TEXT, Encoder
from lvm_lab.text.ingestion.chunking import Pieces
from lvm_lab.text.ingestion.reading import call, read
from lvm_lab.text.reader import Reader


@dataclass(frozen=True)
class Tokens:
    """How many tokens some chunks have in all, how many of the chunks are longer than the encoder's limit, and how
    many tokens enter."""

    total: int = 0
    cut: int = 0
    entering: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.total + other.total, self.cut + other.cut, self.entering + other.entering)


@dataclass(frozen=True)
class Encoding:
    """An encoder with the dtype that its vectors get at rest. contract: its own, without probes.

    stored: it makes none and takes those that the documents bring.
    """

    encoder: Encoder
    contract: EncoderContract
    dtype: str
    stored: bool = False

    @classmethod
    def of(cls, encoder: Encoder, reader: Reader, dtype: str, threads: int) -> Encoding:
        """Loads the encoder by its first text. Raises UserError where it cannot be, or does not keep its contract.

        An encoder without dims is one of stored vectors, and the reader's first document has as many as all others.
        """
        contract = call(encoder.contract, "the encoder")
        if contract.dim == 0:
            return cls(encoder, replace(contract, dim=_stored_dim(reader)), dtype, stored=True)
        encoding = cls(encoder, contract, dtype)
        set_threads(threads)
        encoding([FIRST_TEXT])
        # An encoder that has brought torch in only now finds it with threads of its own choice.
        set_threads(threads)
        return encoding

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, float32 N x D, as the contract says."""
        vectors_ND = call(lambda: self.encoder.encode(texts), "the encoder", f"at the text {_short(texts[0])}")
        return self.checked(np.asarray(vectors_ND, dtype=np.float32), texts)

    def probed(self) -> EncoderContract:
        """The contract of the vectors at rest, with those of the probe sentences where any can be made."""
        contract = replace(self.contract, dtype=self.dtype)
        return contract if self.stored else contract.with_probes(self([*PROBES]))

    def of_block(self, block: Pieces) -> np.ndarray:
        """The vectors of a block's chunks as they are at rest; those that a chunker has made already are taken."""
        if not block.pieces:
            return np.empty((0, self.contract.dim), self.dtype)
        missing = [piece.chunked.texts for piece in block.pieces if piece.chunked.vectors_ND is None]
        texts = [text for some in missing for text in some]
        made_ND = self(texts) if texts else np.empty((0, self.contract.dim), dtype=np.float32)
        parts, start = [], 0
        for piece in block.pieces:
            own_ND = piece.chunked.vectors_ND
            if own_ND is None:
                own_ND = made_ND[start : start + len(piece.chunked.texts)]
                start += len(own_ND)
            else:
                own_ND = self.checked(np.asarray(own_ND, dtype=np.float32), piece.chunked.texts)
            parts.append(own_ND)
        return np.concatenate(parts).astype(self.dtype)

    def checked(self, vectors_ND: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """The vectors. Raises UserError for what no store may hold."""
        if vectors_ND.shape != (len(texts), self.contract.dim):
            raise UserError(
                f"the encoder gave vectors of shape {vectors_ND.shape} for {len(texts)} texts and a contract of "
                f"{self.contract.dim} dims; mend it, or choose another encoder."
            )
        flawed = flaw(vectors_ND, self.dtype)
        if flawed is not None:
            (row,), words = flawed
            raise UserError(f"the encoder's vector of the chunk {_short(texts[row])} {words}.")
        return vectors_ND

    def tokens(self, texts: Sequence[str]) -> Tokens:
        if not texts:
            return Tokens()
        tokens_N = np.asarray(call(lambda: self.encoder.tokens(texts), "the encoder"), dtype=np.int64)
        limit = self.encoder.limit
        if limit is None:
            return Tokens(int(tokens_N.sum()), 0, int(tokens_N.sum()))
        entering = np.minimum(tokens_N, limit)
        return Tokens(int(tokens_N.sum()), int((tokens_N > limit).sum()), int(entering.sum()))


def _stored_dim(reader: Reader) -> int:
    first = next(read(reader), None)
    if first is None or first.document.vectors_ND is None:
        raise UserError(
            "encoder=stored takes vectors that documents bring, and these bring none; choose another encoder."
        )
    return int(first.document.vectors_ND.shape[1])


def set_threads(threads: int) -> None:
    """Of torch, if an encoder has brought it in."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= 40 else f"{plain[:40]}...")
