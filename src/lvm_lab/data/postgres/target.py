"""A store's chunks as rows of a table: which columns are written, of what types, and each block's values.

Shape suffixes: N rows of the store, K rows that are written, D vector dim.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.data.postgres import codes
from lvm_lab.data.postgres.catalogue import TEXTS, VECTORS, WHOLE, Column, Table, missing, table_sql
from lvm_lab.data.postgres.chunks import NEEDED, Chunks
from lvm_lab.data.postgres.columns import Columns
from lvm_lab.data.postgres.vectors import encoded
from lvm_lab.errors import UserError

# Of which the id of a chunk that has none is made, from its source, document and place: the same in every export.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "lvm_lab/chunk")
# What holds each use: type, OID and declaration of a column of our own.
OWN = {
    "id": ("uuid", 2950, "uuid PRIMARY KEY"),
    "text": ("text", 25, "text"),
    "article": ("text", 25, "text NOT NULL"),
    "chunk": ("int4", 23, "integer NOT NULL"),
    "dataset": ("text", 25, "text NOT NULL"),
    "title": ("text", 25, "text"),
    # A smallint ends at 32767.
    "tmd": ("int4", 23, "integer"),
}
# What may be left out where nobody has said what it is called.
OPTIONAL = ("id", "title", "tmd")


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
        lacking = {u: name for u, name in lacking.items() if u not in OPTIONAL or name != default[u]}
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
        if chunks.own_ids and not chunks.own_uuids:
            own["id"] = ("text", 25, "text PRIMARY KEY")
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
            "id": lambda column: _ids(column, chunks, row_K.tolist()),
            "text": lambda _: [texts[row] or None for row in row_K.tolist()],
            "vector": lambda column: list(encoded(np.asarray(chunks.store.vectors_ND[row_K], np.float32), column.type)),
            "article": lambda column: [
                (int if column.type in WHOLE else str)(chunks.ids[number]) for number in number_K
            ],
            "chunk": lambda column: place_K if column.type in WHOLE else [f"{place:09d}" for place in place_K],
            "dataset": lambda _: [chunks.sources[number] for number in number_K],
            "title": lambda _: [chunks.titles[number] or None for number in number_K],
            "tmd": lambda column: codes.encoded(np.asarray(chunks.store.codes_N)[row_K], column),
        }
        return [of_use[use](column) for use, column in self.columns.items()]


def _check_type(use: str, column: Column, table: str) -> None:
    numbers_or_texts = (*WHOLE, *TEXTS)
    fitting = {"vector": tuple(VECTORS), "article": numbers_or_texts, "chunk": numbers_or_texts}
    fitting |= {"id": ("uuid", *TEXTS), "tmd": WHOLE}
    if column.type not in fitting.get(use, TEXTS):
        raise UserError(
            f"{column.name} of {table} is of the type {column.declared}, which holds no {use} of a store; name another "
            f"column with {use}=COLUMN."
        )


def own_ids(column: Column, chunks: Chunks) -> Mapping[int, Any]:
    """The store's own ids of chunks, by row, that a column takes; empty where it has none that it takes."""
    return chunks.own_uuids if column.type == "uuid" else chunks.own_ids


def _ids(column: Column, chunks: Chunks, rows: Sequence[int]) -> list[Any]:
    """The store's own, or made of source, document and place."""
    if own := own_ids(column, chunks):
        return [own[row] for row in rows]
    documents = [(chunks.sources[number], chunks.ids[number]) for number in chunks.export.document_N[rows].tolist()]
    names = [(*one, str(place)) for one, place in zip(documents, chunks.export.place_N[rows], strict=True)]
    if column.type == "uuid":
        return [uuid.uuid5(NAMESPACE, "\x1f".join(name)) for name in names]
    return ["/".join(name) for name in names]
