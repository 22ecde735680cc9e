"""The vectors that a store has of its own texts, where no encoder is at hand that makes them.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import Encoder


class KnownTexts(Encoder):
    """Looks each text up among those of a store, and has the vector of the first chunk whose text it is."""

    def __init__(self, store: Store, texts: Sequence[str]) -> None:
        self._store = store
        self._row_by_text: dict[str, int] = {}
        for row, text in enumerate(texts):
            if text:
                self._row_by_text.setdefault(text, row)

    @property
    def limit(self) -> None:
        return None

    def contract(self) -> EncoderContract:
        return self._store.contract

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        unknown = next((text for text in texts if text not in self._row_by_text), None)
        if unknown is not None:
            raise UserError(
                f"no encoder is known for the vectors of {self._store.name}, and it has no chunk of the text "
                f"{unknown[:60]!r}; name the encoder that made them with encoder=OPTION."
            )
        rows_N = np.array([self._row_by_text[text] for text in texts], dtype=np.int64)
        vectors_ND: np.ndarray = self._store.vectors_ND[rows_N].astype(np.float32)
        return vectors_ND
