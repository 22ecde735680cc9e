"""The chunks of a store that become rows of a table, and what the store has of them.

Shape suffixes: N rows of the store, K rows that are written, D documents, S stretches.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lvm_lab.data.exporting import Export
from lvm_lab.data.store import Store
from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError

# Without these a table's rows would be no chunks in order, of a source that can be counted and replaced.
NEEDED = ("vector", "article", "chunk", "dataset")


@dataclass(frozen=True)
class Chunks:
    """The chunks of a store that become rows: of all sources, or of one. Raises UserError where there are none."""

    store: Store
    source: str | None = None

    def __post_init__(self) -> None:
        if self.store.isolated:
            raise UserError(
                f"{self.store.name} holds isolated windows, which are no documents in order; write a file with "
                "layout=sequences."
            )
        if not len(self.row_K):
            has = ", ".join(sorted(set(self.store.documents.source)))
            raise UserError(f"{self.store.name} has no documents of {self.source}; replace one of {has}.")

    @cached_property
    def export(self) -> Export:
        return Export(self.store, 1, with_texts=False)

    @cached_property
    def row_K(self) -> np.ndarray:
        """The store's row of each, in the store's order."""
        wanted_D = np.array([self.source in (None, source) for source in self.sources], dtype=bool)
        document_N = self.export.document_N
        return np.flatnonzero((document_N >= 0) & wanted_D[document_N])

    @cached_property
    def _first(self) -> list[int]:
        """By document, its first stretch."""
        return np.unique(self.export.number_S, return_index=True)[1].tolist()

    @cached_property
    def ids(self) -> list[str]:
        return [self.store.documents.id[stretch] for stretch in self._first]

    @cached_property
    def sources(self) -> list[str]:
        return [self.store.documents.source[stretch] for stretch in self._first]

    @cached_property
    def titles(self) -> list[str]:
        return [self.store.documents.title[stretch] for stretch in self._first]

    @cached_property
    def documents(self) -> list[int]:
        """The documents that are written."""
        return np.unique(self.export.document_N[self.row_K]).tolist()

    @property
    def written_sources(self) -> list[str]:
        return sorted({self.sources[document] for document in self.documents})

    @cached_property
    def have(self) -> frozenset[str]:
        """The uses for which the store has something."""
        titles = {"title"} if any(self.titles[document] for document in self.documents) else set()
        texts = {"text"} if self.export.texts is not None else set()
        codes_N = self.store.codes_N
        codes = {"tmd"} if codes_N is not None and (codes_N[self.row_K] != MISSING).any() else set()
        return frozenset({"id", *NEEDED, *titles, *texts, *codes})

    @cached_property
    def own_ids(self) -> dict[int, str]:
        """What the store calls each chunk that is written, by its row; empty where not each has a name of its own."""
        ids = self.store.chunk_ids() or [""] * len(self.store.vectors_ND)
        own = {row: ids[row] for row in self.row_K.tolist()}
        return own if all(own.values()) and len(set(own.values())) == len(own) else {}

    @cached_property
    def own_uuids(self) -> dict[int, uuid.UUID]:
        """The same as UUIDs; empty where they are none."""
        try:
            own = {row: uuid.UUID(name) for row, name in self.own_ids.items()}
        except ValueError:
            return {}
        return own if len(set(own.values())) == len(own) else {}

    @property
    def numbered(self) -> bool:
        """Whether all documents are called by whole numbers that int8 holds."""
        names = [self.ids[document] for document in self.documents]
        return all(name.isdecimal() and str(int(name)) == name and int(name) < 1 << 63 for name in names)
