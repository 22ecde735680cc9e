"""Vectors as PostgreSQL sends and takes them in binary: pgvector's type, and arrays of floats.

Shape suffixes: N rows, D vector dim.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from lvm_lab.data.postgres.catalogue import Column
from lvm_lab.data.postgres.connection import driver

# pgvector: dims and a spare field, then the floats. An array: its rank, whether it has NULLs, the elements' type, its
# length and its first index, then each float behind its size in bytes.
VECTOR, ARRAY = struct.Struct(">hh"), struct.Struct(">iiIii")
ELEMENTS = {"_float4": (700, 4), "_float8": (701, 8)}


class Packed(bytes):
    """A vector's bytes, ready to be copied in."""


def decoded(data: Any, type: str) -> np.ndarray:
    """A vector, float32 (D,), of a column's bytes. type: as of `Column`."""
    if type == "vector":
        return np.frombuffer(data, ">f4", offset=VECTOR.size).astype(np.float32)
    return np.frombuffer(data, _element(type), offset=ARRAY.size)["value"].astype(np.float32)


def encoded(vectors_ND: np.ndarray, type: str) -> list[Packed]:
    """Vectors as a column of a type takes them."""
    rows, dim = vectors_ND.shape
    if type == "vector":
        head, body_ND = VECTOR.pack(dim, 0), vectors_ND.astype(">f4")
    else:
        oid, size = ELEMENTS[type]
        head, body_ND = ARRAY.pack(1, 0, oid, dim, 1), np.empty((rows, dim), _element(type))
        body_ND["size"], body_ND["value"] = size, vectors_ND
    return [Packed(head + body_ND[row].tobytes()) for row in range(rows)]


def dims(column: Column) -> str:
    """SQL for how many dims a vector has; NULL where it is none, has a gap, or is a table of numbers."""
    if column.type == "vector" and column.modifier > 0:
        # By its declaration; looking would fetch each vector once more.
        return f"CASE WHEN {column.sql} IS NOT NULL THEN {column.modifier} END"
    if column.type == "vector":
        return f"(octet_length({column.send}({column.sql})) - {VECTOR.size}) / 4"
    whole = f"array_ndims({column.sql}) = 1 AND array_position({column.sql}, NULL) IS NULL"
    return f"CASE WHEN {whole} THEN array_length({column.sql}, 1) END"


def adapt(connection: Any, column: Column) -> None:
    """Has a connection read a column's vectors as arrays, and take `Packed` ones for it, both in binary."""
    psycopg = driver()
    binary = psycopg.pq.Format.BINARY
    bases: Any = psycopg.adapt

    class Loader(bases.Loader):
        format = binary

        def load(self, data: Any) -> np.ndarray:
            return decoded(data, column.type)

    class Dumper(bases.Dumper):
        format = binary
        oid = column.oid

        def dump(self, obj: Packed) -> Packed:
            return obj

    connection.adapters.register_loader(column.oid, Loader)
    connection.adapters.register_dumper(Packed, Dumper)


def _element(type: str) -> np.dtype:
    return np.dtype([("size", ">i4"), ("value", f">f{ELEMENTS[type][1]}")])
