"""`decoder=retrieval`: the nearest chunks of a store, whose texts are given word for word.

Shape suffixes: N vectors, K rows, D vector dim.
"""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.exact import nearest
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.index import NOTHING, open_index
from lvm_lab.data.joined import join_stores
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.text.decoder import Candidate, Decoder, Resources, Rivals

# So many times as many rows are looked up first: some have the text of another, or none.
ROWS_A_CANDIDATE = 2


class Retrieval(Decoder):
    """store: a store's folder, an .npz or an address, or several; None: the one that the command works on.

    index: a folder that `lvm-lab index` made of it; None: every vector is compared. candidates: different texts that a
    vector gets, fewer where there are no more.
    """

    places: ClassVar[tuple[str, ...]] = ("store", "index")

    def __init__(self, store: str | list[str] | None = None, index: str | None = None, candidates: int = 5) -> None:
        if candidates < 1:
            raise UserError(f"decoder.candidates={candidates} does not fit; set 1 or more.")
        self.store, self.index, self.candidates = store, index, candidates
        self.single = candidates == 1
        self._store: Store | None = None
        self._texts: list[str] = []
        self._search: Any = None

    def open(self, resources: Resources) -> None:
        self._store = store = self._opened(resources)
        self._texts = store.texts() or []
        if not any(self._texts):
            raise UserError(f"{self.source} has no texts to retrieve; name a store of texts with decoder.store=FOLDER.")
        if self.index is None:
            self._search = partial(nearest, store.vectors_ND)
            self.notes = (
                f"{self.source} is searched without an index, all of its {len(self._texts):,} vectors each time; "
                "lvm-lab index makes one, and decoder.index=FOLDER names it",
            )
        else:
            folder = Path(self.index)
            self._search = open_index(
                folder, store.vectors_ND, store.content, resources.contract, cache=resources.cache
            ).search

    def _opened(self, resources: Resources) -> Store:
        if self.store:
            paths = [self.store] if isinstance(self.store, str) else self.store
            stores = [open_source(path, resources.cache, context_length=None) for path in paths]
            return join_stores(stores, setting="decoder.store")
        if resources.store is None:
            raise UserError("decoder=retrieval needs a store of texts; add decoder.store=FOLDER.")
        return resources.store

    @property
    def source(self) -> str:
        if self.store:
            return self.store if isinstance(self.store, str) else ", ".join(self.store)
        return self._store.name if self._store is not None else "decoder=retrieval"

    def contract(self) -> EncoderContract:
        assert self._store is not None, "open comes first"
        return self._store.contract

    def decode(self, vectors_ND: np.ndarray) -> list[list[Candidate]]:
        total = len(self._texts)
        k = min(total, ROWS_A_CANDIDATE * self.candidates)
        while True:
            scores_NK, rows_NK = self._search(vectors_ND, k)
            ranked = [self._candidates(*one) for one in zip(scores_NK, rows_NK, strict=True)]
            decoded = [candidates[: self.candidates] for candidates in ranked]
            if k == total or all(len(candidates) == self.candidates for candidates in decoded):
                break
            k = min(total, 4 * k)
        if not all(decoded):
            raise UserError(f"{self.index or self.source} leads to no chunk with a text; leave decoder.index out.")
        return decoded

    def rivals(self, vector_D: np.ndarray, text: str, score: float, rows: int) -> Rivals:
        """An index that looks at a part of its rows leaves out what it does not look at."""
        total = len(self._texts)
        scores_1K, rows_1K = self._search(vector_D[None], min(total, rows))
        near_K = scores_1K[0] >= score
        before = self._candidates(scores_1K[0][near_K], rows_1K[0][near_K])
        whole = rows >= total or not near_K.all()
        return Rivals([one.text for one in before], whole, self._different + (text not in self._texts))

    @cached_property
    def _different(self) -> int:
        return len(set(filter(None, self._texts)))

    def at_rest(self, candidate: Candidate) -> np.ndarray:
        assert self._store is not None, "open comes first"
        return np.asarray(self._store.vectors_ND[candidate.row], dtype=np.float32)

    def ends(self, candidate: Candidate) -> bool:
        return candidate.row in self._last_rows

    @cached_property
    def _last_rows(self) -> frozenset[int]:
        """The last row of each document, which may stand in several stretches."""
        assert self._store is not None, "open comes first"
        documents = self._store.documents
        stores = documents.store or [0] * len(documents.id)
        keys = zip(stores, documents.source, documents.id, strict=True)
        last_rows = (documents.start + documents.length - 1).tolist()
        return frozenset(dict(zip(keys, last_rows, strict=True)).values())

    def _candidates(self, scores_K: np.ndarray, rows_K: np.ndarray) -> list[Candidate]:
        """The best rows of different texts."""
        by_text: dict[str, Candidate] = {}
        for score, row in zip(scores_K.tolist(), rows_K.tolist(), strict=True):
            if row != NOTHING and (text := self._texts[row]) and text not in by_text:
                by_text[text] = Candidate(text, score, row)
        return list(by_text.values())
