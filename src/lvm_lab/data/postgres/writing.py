"""Rows into a table, whole or not at all: copied block by block to a table beside it, then moved in one transaction.

A process that dies on the way leaves the table as it was, and beside it what it had copied, from where the same export
goes on. The table beside is unlogged: a server that crashes empties it, and the export begins anew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.postgres.catalogue import Column
from lvm_lab.data.postgres.chunks import Chunks
from lvm_lab.data.postgres.connection import quoted, telling
from lvm_lab.data.postgres.target import Target
from lvm_lab.data.postgres.vectors import adapt
from lvm_lab.errors import UserError

# Rows that are copied and kept at once; a kill loses no more.
ROWS_AT_ONCE = 4_096
PREFIX, MARK, NUMBER = "lvm_lab_export_", "what lvm_lab has copied for ", "lvm_lab_row"
# For the server to see that a client was killed.
SECONDS_TO_LET_GO = 30


@dataclass(frozen=True)
class Writing:
    """An export under way. replaced: rows of the source whose place is taken, as they were counted before; None where
    nothing is replaced."""

    connection: Any
    chunks: Chunks
    target: Target
    replaced: int | None

    @property
    def way_out(self) -> str:
        return f"nothing in {self.target.name} has changed, and the same command goes on from the rows that are kept."

    @property
    def beside(self) -> str:
        """The table that takes the rows first, named by all that they hang on."""
        manifest = (self.chunks.store.path / MANIFEST).read_text(encoding="utf-8")
        columns = [(use, column.name, column.declared) for use, column in self.target.columns.items()]
        whole = repr((manifest, self.target.name, columns, self.chunks.source, self.target.new))
        return PREFIX + hashlib.sha256(whole.encode()).hexdigest()[:16]

    @property
    def beside_sql(self) -> str:
        return quoted(*self.target.name.split(".", 1)[:-1], self.beside)

    def copy(self, advance: Callable[[int], None]) -> int:
        """Copies what is missing beside the table; returns how many rows an earlier process had copied."""
        self._hold()
        with telling(f"write {self.target.name}", self.way_out):
            self._make()
            adapt(self.connection, self.target.columns["vector"])
            kept = int(self.connection.execute(f"SELECT count(*) FROM {self.beside_sql}", []).fetchone()[0])
            row_K = self.chunks.row_K
            advance(kept)
            for first in range(kept, len(row_K), ROWS_AT_ONCE):
                block = row_K[first : first + ROWS_AT_ONCE]
                self._copy_block(first, self.target.values(self.chunks, block))
                advance(len(block))
            return kept

    def move(self) -> None:
        """Puts the rows in their place, in one transaction."""
        way_out = f"nothing in {self.target.name} has changed; mend that and give the same command again."
        try:
            with telling(f"write {self.target.name}", way_out), self.connection.transaction():
                self._move()
        except UserError:
            # What the table does not take is of no use beside it; from a server that is gone nothing can be dropped.
            with suppress(Exception):
                self.connection.execute(f"DROP TABLE {self.beside_sql}", [])
            raise

    def _move(self) -> None:
        target, execute = self.target, self.connection.execute
        if target.new:
            _create(self.connection, target)
        execute(f"LOCK TABLE {target.sql} IN SHARE ROW EXCLUSIVE MODE", [])
        dataset = target.columns["dataset"].sql
        there = present(self.connection, target, self.chunks.written_sources)
        if sum(there.values()) != (self.replaced or 0):
            raise UserError(
                f"somebody has written to {target.name} meanwhile; give the same command again, which counts anew."
            )
        if self.replaced:
            execute(f"DELETE FROM {target.sql} WHERE {dataset} = %s", [self.chunks.source])
        names = [column.sql for column in target.columns.values()]
        values = list(names)
        if target.counted is not None:
            last = execute(f"SELECT coalesce(max({target.counted.sql}), 0) FROM {target.sql}", []).fetchone()[0]
            names.append(target.counted.sql)
            values.append(f"{int(last) + 1} + {NUMBER}")
        selection = f"SELECT {', '.join(values)} FROM {self.beside_sql} ORDER BY {NUMBER}"
        execute(f"INSERT INTO {target.sql} ({', '.join(names)}) {selection}", [])
        execute(f"DROP TABLE {self.beside_sql}", [])

    def _hold(self) -> None:
        """Against a second process that does the same. The lock goes with the connection."""
        key = int.from_bytes(hashlib.sha256(self.beside.encode()).digest()[:8], "big", signed=True)
        deadline = time.monotonic() + SECONDS_TO_LET_GO
        with telling(f"write {self.target.name}", self.way_out):
            while not self.connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()[0]:
                if time.monotonic() > deadline:
                    raise UserError(f"another process is writing the same to {self.target.name}; wait for it.")
                time.sleep(0.2)

    def _make(self) -> None:
        mark = "SELECT obj_description(to_regclass(%s), 'pg_class'), to_regclass(%s) IS NOT NULL"
        comment, exists = self.connection.execute(mark, [self.beside_sql, self.beside_sql]).fetchone()
        if exists and not str(comment).startswith(MARK):
            raise UserError(f"{self.beside} is a table that the lab has not made; rename it.")
        if exists:
            return
        columns = [f"{column.sql} {_bare(column)}" for column in self.target.columns.values()]
        with self.connection.transaction():
            self.connection.execute(
                f"CREATE UNLOGGED TABLE {self.beside_sql} ({NUMBER} int8, {', '.join(columns)})", []
            )
            comment = (MARK + self.target.name).replace("'", "''").replace("%", "%%")
            self.connection.execute(f"COMMENT ON TABLE {self.beside_sql} IS '{comment}'", [])

    def _copy_block(self, first: int, values: Sequence[Sequence[Any]]) -> None:
        columns = list(self.target.columns.values())
        names = ", ".join([NUMBER, *(column.sql for column in columns)])
        # It takes no values, so that a sign of percent stands once.
        statement = f"COPY {self.beside_sql} ({names}) FROM STDIN (FORMAT BINARY)".replace("%%", "%")
        with self.connection.transaction(), self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types([20, *(column.oid for column in columns)])
            for number, row in enumerate(zip(*values, strict=True), first):
                copy.write_row((number, *row))


@dataclass(frozen=True)
class Written:
    """What was written. kept: rows that an earlier process had copied. replaced: rows whose place was taken."""

    rows: int
    documents: int
    sources: list[str]
    kept: int
    replaced: int
    seconds: float
    losses: list[str]

    @property
    def per_second(self) -> float:
        """Of the rows that this process copied."""
        return (self.rows - self.kept) / self.seconds


def present(connection: Any, target: Target, sources: Sequence[str]) -> dict[str, int]:
    """How many rows a table has of each of some sources, of those of which it has any."""
    dataset = target.columns["dataset"].sql
    query = f"SELECT {dataset}::text, count(*) FROM {target.sql} WHERE {dataset} = ANY(%s) GROUP BY 1 ORDER BY 1"
    return {source: int(count) for source, count in connection.execute(query, [list(sources)])}


def _create(connection: Any, target: Target) -> None:
    columns = target.columns
    described = ", ".join(f"{column.sql} {column.declared}" for column in columns.values())
    connection.execute(f"CREATE TABLE {target.sql} ({described})", [])
    order = ", ".join(columns[use].sql for use in ("dataset", "article", "chunk"))
    connection.execute(f"CREATE INDEX ON {target.sql} ({order})", [])


def _bare(column: Column) -> str:
    """A column's type without what the table asks of it besides."""
    return column.declared.removesuffix(" NOT NULL").removesuffix(" PRIMARY KEY")
