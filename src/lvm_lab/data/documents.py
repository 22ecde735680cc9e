"""The table of documents: which rows are whose, by source and id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lvm_lab.errors import UserError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("source", pa.string()),
        ("start", pa.int64()),
        ("length", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Documents:
    """The table of documents, one entry a stretch of consecutive rows.

    store: which of several joined stores each entry is from; equal ids of two stores are two documents.
    """

    id: list[str]
    title: list[str]
    source: list[str]
    start: np.ndarray
    length: np.ndarray
    store: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, table: pa.Table) -> Documents:
        id, title, source, start, length = (
            table[name].combine_chunks().to_numpy(zero_copy_only=False) for name in SCHEMA.names
        )
        return cls(id.tolist(), title.tolist(), source.tolist(), start.astype(np.int64), length.astype(np.int64))

    def __len__(self) -> int:
        return len(self.id)

    def table(self, rows_before: int = 0) -> pa.Table:
        """As Parquet keeps it, behind so many rows of earlier documents."""
        start = np.asarray(self.start, np.int64) + rows_before
        columns = (self.id, self.title, self.source, start, np.asarray(self.length, np.int64))
        return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)

    def within(self, rows: int) -> bool:
        """Whether every entry lies in so many rows."""
        return bool(np.all(self.start >= 0) and np.all(self.length >= 0) and np.all(self.start + self.length <= rows))

    def check_names(self, store: str) -> None:
        """As `check_names`."""
        check_names((*self.id, *self.source), store)

    def names(self) -> list[str]:
        """One string a row, source and id: stretches of one document share it, and it decides the document's part."""
        return [name_of(source, ident) for source, ident in zip(self.source, self.id, strict=True)]

    def numbers(self) -> np.ndarray:
        """The document's number for every row: stretches of one document share it."""
        number_of: dict[tuple[int, str], int] = {}
        whole = zip(self.store or [0] * len(self), self.names(), strict=True)
        return np.array([number_of.setdefault(document, len(number_of)) for document in whole], dtype=np.int64)

    def by_row(self, rows: int) -> np.ndarray:
        """The document's number for every one of the vectors, (N,) int64; -1 for those that are in none."""
        document_N = np.full(rows, -1, dtype=np.int64)
        for number, start, length in zip(self.numbers(), self.start, self.length, strict=True):
            document_N[start : start + length] = number
        return document_N

    def described(self, rows_before: int = 0) -> bytes:
        """What the table says but for titles, in bytes: Parquet's differ between writers."""
        starts = (np.asarray(self.start) + rows_before).tolist()
        whole = zip(self.names(), starts, np.asarray(self.length).tolist(), strict=True)
        return "".join(f"{key}\x1f{start}\x1f{length}\n" for key, start, length in whole).encode()

    def digest(self) -> str:
        return hashlib.sha256(self.described()).hexdigest()


def check_names(names: Iterable[str], place: str) -> None:
    """UserError for an id or source with control characters: by two of them, documents are told apart. place: what
    messages call that which has them."""
    odd = next((name for name in names if CONTROL.search(name)), None)
    if odd is not None:
        raise UserError(f"{place}: the id or source {odd!r} has control characters; give it a name without them.")


def name_of(source: str, ident: str) -> str:
    return f"{source}\x1f{ident}"


def concatenate(tables: Sequence[Documents], rows: Sequence[int]) -> Documents:
    """The documents of several tables whose rows follow each other. rows: how many each one's vectors are."""
    before = np.cumsum([0, *rows[:-1]])
    return Documents(
        id=[x for table in tables for x in table.id],
        title=[x for table in tables for x in table.title],
        source=[x for table in tables for x in table.source],
        start=np.concatenate([table.start + first for table, first in zip(tables, before, strict=True)]),
        length=np.concatenate([table.length for table in tables]),
    )
