"""A look at the rows that will be read, by the server in one pass: what is missing, how many dims, their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.data.postgres import codes, vectors
from lvm_lab.data.postgres.catalogue import Table
from lvm_lab.errors import UserError

# Sums of the two halves of each row's hash: in whatever order the server reads.
QUERY = """
SELECT dims, count(*), sum(('x' || left(hash, 16))::bit(64)::int8::numeric),
       sum(('x' || substr(hash, 17, 16))::bit(64)::int8::numeric), {missing} min({row})
FROM (SELECT {columns}, {dims} AS dims,
             encode(sha256(convert_to(ROW({hashed})::text, 'UTF8')), 'hex') AS hash FROM {table} {where}) AS one
GROUP BY dims ORDER BY dims
"""


@dataclass(frozen=True)
class Survey:
    """rows: how many there are. digest: of their content, but for the place and the names of the columns. codes_U: the
    TMD codes that they have, each once."""

    rows: int
    digest: str
    codes_U: np.ndarray


def survey(connection: Any, table: Table, uses: Mapping[str, str], where: str, values: Sequence[Any]) -> Survey:
    """Looks at all rows of a selection. uses: as of `Columns.named`, without those that are not read.

    Raises UserError for a row without its vector or its place in a document, for vectors of several dims, and for what
    is no TMD code.
    """
    columns = {use: table.columns[name] for use, name in uses.items()}
    vector = columns.get("vector")
    hashed = [
        f"encode(sha256({column.send}({column.sql})), 'hex')" if use == "vector" else column.sql
        for use, column in columns.items()
        if use != "id" or "article" not in columns
    ]
    placed = [use for use in ("article", "chunk") if use in uses]
    missing = "".join(f"count(*) FILTER (WHERE {columns[use].sql} IS NULL), " for use in placed)
    name = columns.get("id")
    query = QUERY.format(
        missing=missing,
        row="NULL" if name is None else f"{name.sql}::text",
        # A column may be of two uses, and stands there once.
        columns=", ".join(dict.fromkeys(column.sql for use, column in columns.items() if use != "vector"))
        or "1 AS any",
        dims=vectors.dims(vector) if vector else "0",
        hashed=", ".join(hashed),
        table=table.sql,
        where=where,
    )
    groups = connection.execute(query, values).fetchall()
    for place, use in enumerate(placed, 4):
        if empty := sum(group[place] for group in groups):
            raise UserError(
                f"{table.name} has {empty:,} rows without {uses[use]}; fill it, leave them out with reader.filters, or "
                f"name another column as reader.{use}."
            )
    if vector is not None:
        _check_dims(groups, table.name, vector.name, "" if name is None else name.name)
    parts = [(str(dims), count, str(left), str(right)) for dims, count, left, right, *_ in groups]
    tmd = columns.get("tmd")
    codes_U = np.empty(0, np.uint16) if tmd is None else codes.different(connection, table, tmd, where, values)
    return Survey(sum(group[1] for group in groups), hashlib.sha256(repr(parts).encode()).hexdigest(), codes_U)


def _check_dims(groups: Sequence[Sequence[Any]], table: str, vector: str, id: str) -> None:
    counts = {group[0]: group[1] for group in groups}
    if rows := counts.pop(None, 0):
        first = groups[-1][-1]
        example = f", {id} {first} among them" if first is not None else ""
        raise UserError(
            f"{table} has {rows:,} rows without a whole vector in {vector}{example}; encode them, read a view without "
            "them, or the texts alone with reader.vector=null and an encoder."
        )
    if len(counts) > 1:
        several = ", ".join(f"{dims} ({rows:,} rows)" for dims, rows in counts.items())
        raise UserError(
            f"{vector} of {table} has vectors of several dims, {several}; read those of one encoder, with "
            "reader.filters or a view."
        )
