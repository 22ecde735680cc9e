"""Several stores read as one: rows counted through, documents kept apart, nothing copied.

Shape suffixes: N rows of all stores, D vector dim.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, Store
from lvm_lab.errors import UserError


class JoinedRows:
    """The rows of several memory maps, one after the other, indexed like an array and read only there."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self.shape = (int(self.ends[-1]), int(self.parts[0].shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice) and rows == slice(None, None, -1):
            # Read backwards, still from where they lie.
            return JoinedRows([part[::-1] for part in reversed(self.parts)])
        if isinstance(rows, slice):
            return self._slice(*rows.indices(len(self)))
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + len(self), rows)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(self)}")
        out = np.empty((*rows.shape, self.shape[1]), dtype=self.dtype)
        part_of_row = np.searchsorted(self.ends, rows, side="right")
        for i in np.unique(part_of_row):
            here = part_of_row == i
            out[here] = self.parts[i][rows[here] - self._start(i)]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def _slice(self, first: int, last: int, step: int) -> np.ndarray:
        if step != 1:
            return self[np.arange(first, last, step)]
        pieces = []
        for i, part in enumerate(self.parts):
            low, high = max(first - self._start(i), 0), min(last - self._start(i), len(part))
            if low < high:
                pieces.append(part[low:high])
        if not pieces:
            return np.empty((0, self.shape[1]), dtype=self.dtype)
        return np.concatenate(pieces, dtype=self.dtype) if len(pieces) > 1 else pieces[0].astype(self.dtype, copy=False)

    def _start(self, i: int) -> int:
        return int(self.ends[i]) - len(self.parts[i])


@dataclass(frozen=True)
class JoinedStore(Store):
    """A store whose rows lie in several others."""

    stores: tuple[Store, ...] = ()

    def texts(self) -> list[str] | None:
        """Every store's texts, empty where one has none; None where no store has any."""
        by_store = [store.texts() for store in self.stores]
        if all(texts is None for texts in by_store):
            return None
        none = ([""] * len(store.vectors_ND) for store in self.stores)
        return [text for texts, empty in zip(by_store, none, strict=True) for text in (texts or empty)]


def join_stores(stores: Sequence[Store]) -> Store:
    """One store of several; equal ids in two of them are two documents, each in the part that it has alone.

    The order of the stores counts for nothing. Raises UserError for the same content twice, for stores of another
    encoder or dim, and for isolated windows beside whole documents.
    """
    stores = sorted(stores, key=lambda store: store.content)
    first = stores[0]
    if len(stores) == 1:
        return first
    for one, other in itertools.pairwise(stores):
        if one.content == other.content:
            raise UserError(f"data.path lists the same vectors twice ({one.name} and {other.name}); list them once.")
    contract = first.contract
    for store in stores[1:]:
        conflict = contract.conflict(store.contract)
        if conflict:
            raise UserError(
                f"data.path lists vectors of different encoders ({first.name} and {store.name}: {conflict}); "
                "train on those of one encoder."
            )
        if store.isolated != first.isolated:
            raise UserError(
                f"data.path mixes isolated windows with whole documents ({first.name} and {store.name}); "
                "bring the documents that the windows were cut from, or train on one of the two."
            )
        contract = _either(contract, store.contract)
    rows = JoinedRows([store.vectors_ND for store in stores])
    return JoinedStore(
        path=first.path.parent,
        vectors_ND=rows,
        documents=_documents(stores),
        contract=replace(contract, dtype=str(rows.dtype)),
        isolated=first.isolated,
        reason="; ".join(dict.fromkeys(store.reason for store in stores if store.reason)),
        documents_known=all(store.documents_known for store in stores),
        content=hashlib.sha256("".join(store.content for store in stores).encode()).hexdigest(),
        stores=tuple(stores),
    )


def _documents(stores: Sequence[Store]) -> Documents:
    tables = [store.documents for store in stores]
    before = np.cumsum([0, *(len(store.vectors_ND) for store in stores[:-1])])
    return Documents(
        id=[x for table in tables for x in table.id],
        title=[x for table in tables for x in table.title],
        source=[x for table in tables for x in table.source],
        start=np.concatenate([table.start + rows for table, rows in zip(tables, before, strict=True)]),
        length=np.concatenate([table.length for table in tables]),
        store=[i for i, table in enumerate(tables) for _ in range(len(table))],
    )


def _either(mine: EncoderContract, theirs: EncoderContract) -> EncoderContract:
    """What either of two contracts without conflict says."""
    facts = {name: getattr(theirs, name) for name in vars(theirs) if getattr(mine, name) is None}
    return replace(mine, **facts, probes={**theirs.probes, **mine.probes})
