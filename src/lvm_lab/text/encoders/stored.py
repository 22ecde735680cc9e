"""`encoder=stored`: hands on the vectors that the documents bring with them (`reader=npz` and others)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import Encoder


class Stored(Encoder):
    """encoder, pooling, dense, library, max_tokens: what made the vectors, where the user knows it.

    It encodes nothing: an ingestion takes `Document.vectors_ND`, and measures their dim and whether they are of unit
    length, which the contract leaves open (0 and None).
    """

    def __init__(
        self,
        encoder: str | None = None,
        pooling: str | None = None,
        dense: bool | None = None,
        library: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._contract = EncoderContract(
            encoder=encoder, pooling=pooling, dense=dense, library=library, max_tokens=max_tokens
        )

    @property
    def limit(self) -> None:
        return None

    def contract(self) -> EncoderContract:
        return self._contract

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Words, since whose tokens they were is not known."""
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        raise UserError(
            "encoder=stored makes no vectors of texts; bring documents that have theirs, or choose another encoder."
        )
