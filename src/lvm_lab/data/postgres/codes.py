"""TMD codes as a column of whole numbers has them: NULL for none, and in a smallint the upper half below 0.

Shape suffixes: K rows, U different codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lvm_lab.data.postgres.catalogue import Column, Table
from lvm_lab.data.tmd import MISSING, fit
from lvm_lab.errors import UserError

# Of a smallint; numbers of a larger column may have been copied from one.
LEAST = np.iinfo(np.int16).min
# More numbers than a column of codes can have, each as it is and below 0.
MOST = 1 << 17
# Numbers that a message lists at most.
LISTED = 3


def encoded(codes_K: np.ndarray, column: Column) -> list[int | None]:
    """Codes, uint16, as a column takes them."""
    numbers = codes_K.astype(np.int16 if column.type == "int2" else np.int64).tolist()
    return [None if missing else number for number, missing in zip(numbers, codes_K == MISSING, strict=True)]


def decoded(numbers: Sequence[int | None]) -> np.ndarray:
    """The codes, (K,) uint16, of what a column holds; MISSING for NULL and for -1."""
    return np.array([MISSING if number is None else number & 0xFFFF for number in numbers], np.uint16)


def different(connection: Any, table: Table, column: Column, where: str, values: Sequence[Any]) -> np.ndarray:
    """The codes that a selection of rows has, (U,) uint16, each once, without MISSING.

    Raises UserError for numbers that are none.
    """
    query = f"SELECT DISTINCT {column.sql} FROM {table.sql} {where} ORDER BY 1 LIMIT {MOST}"
    numbers = [number for (number,) in connection.execute(query, values) if number is not None]
    if wrong := [one for one in numbers if not LEAST <= one <= MISSING or not fit(decoded([one]))]:
        raise UserError(
            f"{column.name} of {table.name} holds {', '.join(map(str, wrong[:LISTED]))}, and a TMD code is even, from "
            "0 to 65534 (in a smallint the upper half is below 0), or -1 for none; read the table without them, "
            "reader.tmd=null, and give the chunks codes with `lvm-lab tmd`."
        )
    codes_U = np.unique(decoded(numbers))
    return codes_U[codes_U != MISSING]
