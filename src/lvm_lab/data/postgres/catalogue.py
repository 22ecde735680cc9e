"""What the database says of a table: its columns, their types, and which of them hold vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lvm_lab.data.postgres.connection import quoted
from lvm_lab.errors import UserError

# The types that a vector's column may have, as pg_type names them.
VECTORS = {"vector": "vector", "_float4": "real[]", "_float8": "double precision[]"}
WHOLE = ("int2", "int4", "int8")
TEXTS = ("text", "varchar", "bpchar")
# Tables that a message lists at most.
LISTED = 8

COLUMNS = """
SELECT a.attname, a.atttypid::int8, t.typname, format_type(a.atttypid, a.atttypmod), t.typsend::regproc::text,
       a.atthasdef OR a.attidentity <> '', a.atttypmod, t.typcollation <> 0
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg_toast%%' AND c.relname NOT LIKE 'lvm_lab_export_%%' ORDER BY 1, 2 LIMIT %s
"""


@dataclass(frozen=True)
class Column:
    """type: pg_type's name of it; declared: as DDL has it. send: the function that gives its bytes. filled: whether
    the database itself gives it a value. modifier: of a pgvector column its dims, or -1. collates: has an alphabet."""

    name: str
    oid: int
    type: str
    declared: str
    send: str
    filled: bool
    modifier: int
    collates: bool

    @property
    def sql(self) -> str:
        return quoted(self.name)

    @property
    def sorted(self) -> str:
        """As ORDER BY has it: texts by their bytes, whatever the database's alphabet."""
        return f'{self.sql} COLLATE "C"' if self.collates else self.sql


@dataclass(frozen=True)
class Table:
    """A table or a view, by the name that the user gives it."""

    name: str
    columns: Mapping[str, Column]

    @property
    def sql(self) -> str:
        return table_sql(self.name)

    def vector(self, name: str, setting: str) -> Column:
        """The column of vectors. UserError where it cannot hold any."""
        column = self.columns[name]
        if column.type not in VECTORS:
            raise UserError(
                f"{name} of {self.name} is of the type {column.declared}; name a column of "
                f"{', '.join(VECTORS.values())} as {setting}, or read a view that casts it."
            )
        return column


def table_sql(name: str) -> str:
    """A table's name, with its schema or without, as SQL has it."""
    return quoted(*name.split(".", 1))


def describe(connection: Any, name: str) -> Table | None:
    """The table or view of a name; None where there is none."""
    rows = connection.execute(COLUMNS, [table_sql(name).replace("%%", "%")]).fetchall()
    return Table(name, {row[0]: Column(*row) for row in rows}) if rows else None


def absent(connection: Any, name: str, setting: str) -> UserError:
    tables = [
        name if schema == "public" else f"{schema}.{name}" for schema, name in connection.execute(TABLES, [LISTED])
    ]
    return UserError(
        f"the database has no table or view {name}; name one as {setting} (there "
        f"{'are ' + ', '.join(tables) if tables else 'is none'})."
    )


def missing(table: Table, names: Iterable[str], way_out: str) -> UserError:
    """For columns that a table does not have."""
    return UserError(
        f"{table.name} has the columns {', '.join(table.columns)} and not {' and '.join(names)}; {way_out}"
    )
