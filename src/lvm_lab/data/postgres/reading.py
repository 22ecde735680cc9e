"""Rows of a table in one order, through a cursor of the server's, all from one moment of the database."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lvm_lab.data.postgres import vectors
from lvm_lab.data.postgres.catalogue import Table, absent, describe
from lvm_lab.data.postgres.connection import connect, quoted, telling

# Rows that are fetched at once: some megabytes.
ROWS_AT_ONCE = 1_024
WAY_OUT = "give the same command again, which goes on behind what was made."
MISTAKEN = "set the reader's table, columns and filters to what it takes, or have it allow that."


class Snapshot:
    """A table as it is when it is first looked at: who writes to it meanwhile changes nothing for the reader."""

    def __init__(self, name: str, setting: str) -> None:
        self._connection = connect()
        weakref.finalize(self, self._connection.close)
        self._cursors = itertools.count()
        with telling("read", WAY_OUT, MISTAKEN):
            # Values as texts are the same whoever asks.
            self._connection.execute(
                "SELECT set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO', false)"
            )
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            table = describe(self._connection, name)
            if table is None:
                raise absent(self._connection, name, setting)
        self.table: Table = table

    def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(query, values)

    def adapt(self, column: str) -> None:
        vectors.adapt(self._connection, self.table.columns[column])

    def stream(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, so many at a time."""
        name = f"lvm_lab_{next(self._cursors)}"
        with (
            telling(f"read {self.table.name}", WAY_OUT, MISTAKEN),
            self._connection.cursor(name=name) as cursor,
        ):
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(query, values, binary=True)
            yield from cursor


def where(filters: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """SQL for rows that have all of some values, or of a list one of its values, and the values."""
    conditions, values = [], []
    for name, value in filters.items():
        several = value if isinstance(value, list | tuple) else [value]
        known = [str(one) for one in several if one is not None]
        either = [f"{quoted(name)} IN ({', '.join(['%s'] * len(known))})"] if known else []
        either += [f"{quoted(name)} IS NULL"] if None in several else []
        conditions.append(f"({' OR '.join(either) or 'false'})")
        values += known
    return (f"WHERE {' AND '.join(conditions)}" if conditions else ""), values
