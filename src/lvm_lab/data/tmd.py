"""TMD codes: what kind of text a chunk is (domain, task, modifier) in 16 bits, and the table of what they mean.

Bits 15 to 12 are the domain, 11 to 7 the task, 6 to 1 the modifier; bit 0 is spare, and 0.

Shape suffixes: N chunks, C columns of a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvm_lab.config.data import TMD_BITS
from lvm_lab.errors import UserError

FIELDS = tuple(TMD_BITS)
# By field, how far its lowest bit lies from bit 0, and how many names there may be.
SHIFTS = {"domains": 12, "tasks": 7, "modifiers": 1}
MOST = {key: 1 << bits for key, bits in TMD_BITS.items()}
# A chunk without a code: no true code has the spare bit.
MISSING = 0xFFFF
COLUMNS = sum(TMD_BITS.values())


@dataclass(frozen=True)
class Names:
    """What codes mean, by place: number k of a field is called by its k-th name. Empty: nothing says.

    by: how the codes came about, for a reader.
    Raises UserError for names that the bits have no room for, empty ones, and two alike.
    """

    domains: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    by: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for key in FIELDS:
            names = getattr(self, key)
            if len(names) > MOST[key]:
                raise UserError(f"TMD codes have room for {MOST[key]} {key} and {len(names)} are named; name fewer.")
            if len(set(names)) < len(names) or not all(isinstance(name, str) and name.strip() for name in names):
                raise UserError(f"the {key} of TMD codes need a name each, all different; check their table.")
        if len({bool(getattr(self, key)) for key in FIELDS}) > 1:
            raise UserError("a table of TMD names has domains, tasks and modifiers; name all three, or none.")

    def __bool__(self) -> bool:
        return bool(self.domains)

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Names:
        """What `recorded` gave. Raises ValueError for what it did not give."""
        if not set(recorded) <= {*FIELDS, "by"} or not all(isinstance(recorded.get(key, []), list) for key in FIELDS):
            raise ValueError("its table of TMD names has no lists of domains, tasks and modifiers")
        domains, tasks, modifiers = (tuple(recorded.get(key, ())) for key in FIELDS)
        return cls(domains, tasks, modifiers, str(recorded.get("by", "")))

    def recorded(self) -> dict[str, Any]:
        """As manifests and checkpoints hold it."""
        return {key: list(getattr(self, key)) for key in FIELDS} | ({"by": self.by} if self.by else {})

    def nameless(self, codes_N: np.ndarray) -> list[str]:
        """What some codes have that is called nothing here, as phrases."""
        return [
            f"{key}: number {number}"
            for key, numbers_N in unpack(codes_N).items()
            for number in np.unique(numbers_N[numbers_N >= len(getattr(self, key))]).tolist()
        ]

    def mapped(self, codes_N: np.ndarray, other: Names, name: str) -> np.ndarray:
        """Codes of this table as another has them. name: what messages call what they are of.

        Raises UserError where the other table has not every name that is used, or one of the two says nothing.
        """
        if self == other:
            return codes_N
        columns = {}
        for key, numbers_N in unpack(codes_N).items():
            mine, theirs = getattr(self, key), getattr(other, key)
            used = np.unique(numbers_N[numbers_N >= 0]).tolist()
            lacking = [
                mine[k] if k < len(mine) else f"number {k}"
                for k in used
                if mine[k : k + 1] == () or mine[k] not in theirs
            ]
            if lacking:
                raise UserError(
                    f"{name} has TMD codes of another table of names ({key}: {', '.join(lacking[:3])}); give its "
                    "chunks codes anew with `lvm-lab tmd`, by the same table."
                )
            table = np.array([*(theirs.index(one) if one in theirs else -1 for one in mine), -1])
            columns[key] = table[numbers_N]
        return pack(**columns)


def pack(domains: np.ndarray, tasks: np.ndarray, modifiers: np.ndarray) -> np.ndarray:
    """Codes of three arrays of numbers, (N,) uint16; MISSING where one is negative."""
    fields = dict(zip(FIELDS, (np.asarray(x, np.int64) for x in (domains, tasks, modifiers)), strict=True))
    assert all((x < MOST[key]).all() for key, x in fields.items()), "numbers that the bits have room for"
    codes_N = sum(x << SHIFTS[key] for key, x in fields.items())
    lacking_N = np.any([x < 0 for x in fields.values()], axis=0)
    return np.where(lacking_N, MISSING, codes_N).astype(np.uint16)


def unpack(codes_N: np.ndarray) -> dict[str, np.ndarray]:
    """By field, its number of each code, (N,) int64; -1 where there is none."""
    codes_N = np.asarray(codes_N).astype(np.int64)
    return {key: np.where(codes_N == MISSING, -1, (codes_N >> SHIFTS[key]) & (MOST[key] - 1)) for key in FIELDS}


def fit(codes_N: np.ndarray) -> bool:
    """Whether these are codes of this layout, or MISSING."""
    codes_N = np.asarray(codes_N)
    plain_N = (codes_N >= 0) & (codes_N < MISSING) & (codes_N % 2 == 0)
    return bool((plain_N | (codes_N == MISSING)).all())


def columns(codes: np.ndarray) -> np.ndarray:
    """What models read of codes: their 15 bits, most significant first, as -1 and 1 in float32, of shape
    codes.shape + (COLUMNS,); zeros where there is none. Exact in every precision that a training may have."""
    codes = np.asarray(codes)
    bits = (codes[..., None].astype(np.int64) >> np.arange(COLUMNS, 0, -1)) & 1
    signed: np.ndarray = np.where(codes[..., None] == MISSING, 0, 2 * bits - 1).astype(np.float32)
    return signed


def join(codes: Sequence[np.ndarray | None], rows: Sequence[int]) -> np.ndarray | None:
    """The codes of several arrays of chunks, one after the other; None where none has any."""
    if all(one is None for one in codes):
        return None
    whole = [np.full(count, MISSING, np.uint16) if one is None else one for one, count in zip(codes, rows, strict=True)]
    return whole[0] if len(whole) == 1 else np.concatenate(whole)


def join_tables(
    tables: Sequence[Names | None], codes: Sequence[np.ndarray | None], names: Sequence[str]
) -> tuple[Names | None, list[np.ndarray | None]]:
    """The first table there is, and every array of codes as that has them. names: what messages call each.

    Raises UserError as `Names.mapped` does.
    """
    first = next((table for table in tables if table is not None), None)
    mapped = [
        None if one is None or table is None or first is None else table.mapped(one, first, name)
        for table, one, name in zip(tables, codes, names, strict=True)
    ]
    return first, mapped
