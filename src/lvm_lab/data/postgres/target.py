"""A store's chunks as rows of a table: which columns are written, of what types, and each block's values.

Shape suffixes: N rows of the store, K rows that are written, D vector dim.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lvm_lab.data.exporting import Export
from lvm_lab.data.postgres.catalogue import TEXTS, VECTORS, WHOLE, Column, Table, missing, table_sql
from lvm_lab.data.postgres.columns import Columns
from lvm_lab.data.postgres.vectors import encoded
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError

# Of which a chunk's id is made, from its source, document and place: the same in every export.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "lvm_lab/chunk")
# Without these a table's rows would be no chunks in order, of a source that can be counted and replaced.
NEEDED = ("vector", "article", "chunk", "dataset")
# What holds each use: type, OID and declaration of a column of our own.
OWN = {
    "id": ("uuid", 2950, "uuid PRIMARY KEY"),
    "text": ("text", 25, "text"),
    "article": ("text", 25, "text NOT NULL"),
    "chunk": ("int4", 23, "integer NOT NULL"),
    "dataset": ("text", 25, "text NOT NULL"),
    "title": ("text", 25, "text"),
}


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
        return frozenset({"id", *NEEDED, *titles, *texts})

    @property
    def numbered(self) -> bool:
        """Whether all documents are called by whole numbers that int8 holds."""
        names = [self.ids[document] for document in self.documents]
        return all(name.isdecimal() and str(int(name)) == name and int(name) < 1 << 63 for name in names)


@dataclass(frozen=True)
class Target:
    """Where chunks go. columns: by use, those that get a value with each row. new: whether the table is made."""

    name: str
    columns: Mapping[str, Column]
    new: bool
    # A column of whole numbers that name chunks: numbers behind those that are there.
    counted: Column | None = None

    @property
    def sql(self) -> str:
        return table_sql(self.name)

    @classmethod
    def existing(cls, table: Table, wanted: Columns, chunks: Chunks) -> Target:
        """Raises UserError for a table that lacks a column, or whose columns cannot hold what is written."""
        named, default = wanted.named(), Columns().named()
        lacking = {use: name for use, name in named.items() if use in chunks.have and name not in table.columns}
        # An id and titles may be left out where nobody has said what they are called.
        lacking = {u: name for u, name in lacking.items() if u not in ("id", "title") or name != default[u]}
        if lacking:
            settings = " and ".join(f"{use}=COLUMN" for use in lacking)
            null = [use for use in lacking if use not in NEEDED]
            leave = f", or {' '.join(f'{use}=null' for use in null)} to leave it out" if null else ""
            raise missing(table, lacking.values(), f"name it with {settings}{leave}.")
        columns = {u: table.columns[name] for u, name in named.items() if u in chunks.have and name in table.columns}
        vector = table.vector(columns["vector"].name, "vector")
        dim = chunks.store.dim
        if vector.type == "vector" and vector.modifier not in (-1, dim):
            raise UserError(
                f"{vector.name} of {table.name} is of {vector.modifier} dims and the store of {dim}; name another "
                "column with vector=COLUMN, or another table."
            )
        id = columns.get("id")
        counted = id if id is not None and id.type in WHOLE and not id.filled else None
        if id is not None and id.type in WHOLE:
            # The database's own numbers, or those that the swap gives.
            del columns["id"]
        for use, column in columns.items():
            _check_type(use, column, table.name)
        article = columns["article"]
        if article.type in WHOLE and not chunks.numbered:
            raise UserError(
                f"{article.name} of {table.name} is of the type {article.declared} and the documents' ids are no whole "
                "numbers; name a column of texts with article=COLUMN."
            )
        return cls(table.name, columns, False, counted)

    @classmethod
    def made(cls, name: str, wanted: Columns, chunks: Chunks, vector_oid: int | None) -> Target:
        """A table that is not there yet. vector_oid: of pgvector's type, where the database has it."""
        own = dict(OWN)
        if chunks.numbered:
            own["article"] = ("int8", 20, "bigint NOT NULL")
        real = ("_float4", 1021, "real[] NOT NULL")
        own["vector"] = real if vector_oid is None else ("vector", vector_oid, f"vector({chunks.store.dim}) NOT NULL")
        columns = {
            use: Column(column, own[use][1], own[use][0], own[use][2], "", False, -1, False)
            for use, column in wanted.named().items()
            # A reader looks for a column of texts, even where none are in it.
            if use in chunks.have or use == "text"
        }
        return cls(name, columns, True)

    def values(self, chunks: Chunks, row_K: np.ndarray) -> list[list[Any]]:
        """What some rows of the store have for each column, column by column."""
        number_K = chunks.export.document_N[row_K].tolist()
        place_K = chunks.export.place_N[row_K].tolist()
        texts = chunks.export.texts or [""] * len(chunks.store.vectors_ND)
        of_use: dict[str, Callable[[Column], list[Any]]] = {
            "id": lambda column: [
                _id(column, chunks.sources[number], chunks.ids[number], place)
                for number, place in zip(number_K, place_K, strict=True)
            ],
            "text": lambda _: [texts[row] or None for row in row_K.tolist()],
            "vector": lambda column: list(encoded(np.asarray(chunks.store.vectors_ND[row_K], np.float32), column.type)),
            "article": lambda column: [
                (int if column.type in WHOLE else str)(chunks.ids[number]) for number in number_K
            ],
            "chunk": lambda column: place_K if column.type in WHOLE else [f"{place:09d}" for place in place_K],
            "dataset": lambda _: [chunks.sources[number] for number in number_K],
            "title": lambda _: [chunks.titles[number] or None for number in number_K],
        }
        return [of_use[use](column) for use, column in self.columns.items()]


def _check_type(use: str, column: Column, table: str) -> None:
    fitting = {"vector": tuple(VECTORS), "article": (*WHOLE, *TEXTS), "chunk": (*WHOLE, *TEXTS), "id": ("uuid", *TEXTS)}
    if column.type not in fitting.get(use, TEXTS):
        raise UserError(
            f"{column.name} of {table} is of the type {column.declared}, which holds no {use} of a store; name another "
            f"column with {use}=COLUMN."
        )


def _id(column: Column, source: str, document: str, place: int) -> Any:
    if column.type == "uuid":
        return uuid.uuid5(NAMESPACE, f"{source}\x1f{document}\x1f{place}")
    return f"{source}/{document}/{place}"
