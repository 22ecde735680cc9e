"""A table of chunks in PostgreSQL, with their vectors for encoder=stored where it has them."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from lvm_lab.data.postgres import codes, reading
from lvm_lab.data.postgres.catalogue import WHOLE, Table, missing
from lvm_lab.data.postgres.columns import TABLE, Columns
from lvm_lab.data.postgres.connection import check_settings, telling
from lvm_lab.data.postgres.survey import Survey, survey
from lvm_lab.data.tmd import Names
from lvm_lab.errors import UserError
from lvm_lab.text.collection import Collection, key
from lvm_lab.text.document import Document
from lvm_lab.text.tmd_names import check_named, given_names

# What a table may lack where nobody has said what it is called.
OPTIONAL = ("id", "dataset", "title", "tmd")
WAYS = {
    "text": "set reader.text to what it is called, or reader.text=null for vectors alone.",
    "vector": "set reader.vector to what it is called, or reader.vector=null for texts alone.",
    "order": "set reader.article and reader.chunk to the columns that order the chunks, or reader.article=null to read "
    "each row as a document of one chunk.",
}


@dataclass(kw_only=True)
class Postgres(Collection):
    """table: a table or a view, with its schema or without; where its database is, the environment alone says.

    id, text, vector, article, chunk, dataset, title, tmd: what its columns are called
    (`lvm_lab.data.postgres.columns`); text=null, vector=null or tmd=null leaves that one out, article=null makes each
    row a document of one chunk. tmd_names: a YAML of what TMD codes mean, or `lab`, the lab's own; None: nothing says.
    filters: a value, or a list of values, for each of some columns.
    """

    kind: ClassVar[str] = "postgres"
    places: ClassVar[tuple[str, ...]] = ("table", "tmd_names")

    table: str = TABLE
    id: str | None = Columns.id
    text: str | None = Columns.text
    vector: str | None = Columns.vector
    article: str | None = Columns.article
    chunk: str | None = Columns.chunk
    dataset: str | None = Columns.dataset
    title: str | None = Columns.title
    tmd: str | None = Columns.tmd
    tmd_names: str | None = None
    filters: dict[str, Any] | None = None
    _members: list[tuple[str, str]] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in self.__dataclass_fields__ if not name.startswith("_")}
        check_settings({f"reader.{name}": value for name, value in given.items() if value is not None})
        if self.text is None and self.vector is None:
            raise UserError("reader.text=null reader.vector=null leave nothing to read; name one of the two.")
        if self.article is None and self.id is None:
            raise UserError("reader.article=null reader.id=null leave rows without a name; name one of the two.")
        if self.tmd is None and self.tmd_names is not None:
            raise UserError(
                "reader.tmd_names says what codes mean and reader.tmd=null takes none; leave one of the two out."
            )

    def tmd_table(self) -> Names | None:
        return self._names if len(self._survey.codes_U) else None

    def _read(self) -> Iterator[Document]:
        rows = self._rows()
        for (source, article), chunks in itertools.groupby(rows, key=lambda row: (row["dataset"], row["article"])):
            yield self._document(source or "", article, chunks)

    def _document(self, source: str, article: Any, rows: Iterator[dict[str, Any]]) -> Document:
        chunks = list(rows)
        for before, row in itertools.pairwise(chunks):
            if before["chunk"] == row["chunk"]:
                what = "comes twice" if self.article is None else f"has {self.chunk} {row['chunk']} twice"
                raise UserError(
                    f"{self.table}: {self.article or self.id} {article} {what}; keep one row for each, or leave rows "
                    "out with reader.filters."
                )
        title = next((row["title"] for row in chunks if row["title"]), "")
        texts = tuple(row["text"] or "" for row in chunks)
        vectors_ND = np.stack([row["vector"] for row in chunks]) if self.vector is not None else None
        codes_N = codes.decoded([row["tmd"] for row in chunks]) if "tmd" in self._uses else None
        return Document(str(article), title, source, texts, chunked=True, vectors_ND=vectors_ND, codes_N=codes_N)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Each with the uses of its columns as keys, in the order of source, article and chunk."""
        self._check_rows()
        table, uses = self._snapshot.table, self._uses
        ways = {"dataset", "article", "chunk", "title", "text", "vector", "tmd"}
        columns = {use: table.columns[name] for use, name in uses.items() if use in ways}
        if self.article is None:
            columns["article"] = table.columns[uses["id"]]
        order = [columns[use].sorted for use in ("dataset", "article", "chunk") if use in columns]
        where, values = reading.where(self.filters or {})
        if self._members is not None:
            members = f"({self._name_sql(columns)}) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
            where = f"{where} AND {members}" if where else f"WHERE {members}"
            values += [[source for source, _ in self._members], [article for _, article in self._members]]
        listed = ", ".join(self._select(use, column.sql) for use, column in columns.items())
        query = f"SELECT {listed} FROM {table.sql} {where} ORDER BY {', '.join(order)}"
        blank = dict.fromkeys(ways)
        for row in self._snapshot.stream(query, values):
            yield blank | dict(zip(columns, row, strict=True))

    def _draw(self) -> set[bytes]:
        """As of every reader, from the names alone: no vector crosses for what is not in the sample."""
        assert self.limit is not None
        self._check_rows()
        table, uses = self._snapshot.table, self._uses
        columns = {use: table.columns[name] for use, name in uses.items() if use == "dataset"}
        columns["article"] = table.columns[uses["id" if self.article is None else "article"]]
        where, values = reading.where(self.filters or {})
        name = self._name_sql(columns)
        having = ""
        if self.text is not None and self.vector is None:
            # Documents without text are left out.
            having = f"HAVING bool_or(coalesce({table.columns[self.text].sql}, '') ~ '\\S')"
        names = self._snapshot.stream(f"SELECT {name} FROM {table.sql} {where} GROUP BY 1, 2 {having}", values)
        seed = str(self.seed).encode()
        ranked = (
            (hashlib.sha256(seed + one).digest(), one, source, article)
            for source, article in names
            for one in [key(Document(article, "", self.source or source or self.kind, ()))]
        )
        smallest = heapq.nsmallest(self.limit, ranked)
        self._members = [(source, article) for *_, source, article in smallest]
        return {one for _, one, *_ in smallest}

    def _digest(self) -> str:
        digest = self._survey.digest
        if self.tmd_names is None:
            return digest
        # The file is a place, and what it says is content.
        return hashlib.sha256(repr((digest, self._names.recorded())).encode()).hexdigest()

    def _check_rows(self) -> None:
        if not self._survey.rows:
            what = f"no row of {self.table} has {self.filters}" if self.filters else f"{self.table} has no rows"
            raise UserError(f"{what}; set reader.table and reader.filters to rows that are there.")

    @cached_property
    def _survey(self) -> Survey:
        where, values = reading.where(self.filters or {})
        with telling(f"read {self.table}", reading.WAY_OUT, reading.MISTAKEN):
            seen = survey(self._snapshot, self._snapshot.table, self._uses, where, values)
        check_named(seen.codes_U, self._names, f"{self.tmd} of {self.table}", self.tmd_names)
        return seen

    @cached_property
    def _names(self) -> Names:
        return given_names(self.tmd_names, f"reader={self.kind}")

    @cached_property
    def _snapshot(self) -> reading.Snapshot:
        snapshot = reading.Snapshot(self.table, "reader.table")
        self._check_columns(snapshot.table)
        if self.vector is not None:
            snapshot.adapt(self.vector)
        return snapshot

    @cached_property
    def _uses(self) -> dict[str, str]:
        """Use to column, of those that are read."""
        there = self._snapshot.table.columns
        return {use: name for use, name in self._columns().named().items() if name in there}

    def _columns(self) -> Columns:
        chunk = self.chunk if self.article is not None else None
        return Columns(self.id, self.text, self.vector, self.article, chunk, self.dataset, self.title, self.tmd)

    def _check_columns(self, table: Table) -> None:
        named, default = self._columns().named(), Columns().named()
        lacking = {use: name for use, name in named.items() if name not in table.columns}
        if order := [lacking[use] for use in ("article", "chunk") if use in lacking]:
            raise missing(table, order, WAYS["order"])
        for use, name in lacking.items():
            asked = (use == "id" and self.article is None) or (use == "tmd" and self.tmd_names is not None)
            if use not in OPTIONAL or name != default[use] or asked:
                raise missing(table, [name], WAYS.get(use, f"set reader.{use} to what it is called."))
        if others := [name for name in self.filters or {} if name not in table.columns]:
            raise missing(table, others, "name columns of it in reader.filters.")
        if self.vector is not None:
            table.vector(self.vector, "reader.vector")
        column = table.columns.get(self.tmd) if self.tmd is not None else None
        if column is not None and column.type not in WHOLE:
            raise UserError(
                f"{self.tmd} of {self.table} is of the type {column.declared}, which holds no TMD codes; name a column "
                "of whole numbers as reader.tmd, or leave it out with reader.tmd=null."
            )

    def _select(self, use: str, sql: str) -> str:
        return sql if use in ("article", "chunk", "vector", "tmd") else f"{sql}::text"

    def _name_sql(self, columns: dict[str, Any]) -> str:
        """A document's source and id, as texts."""
        dataset = columns.get("dataset")
        source = "''" if dataset is None else f"coalesce({dataset.sql}::text, '')"
        return f"{source}, {columns['article'].sql}::text"

    def _name(self) -> str:
        return self.table
