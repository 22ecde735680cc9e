"""Several stores read as one: rows counted through, documents kept apart, nothing copied.

Shape suffixes: N rows of all stores, D vector dim.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.rows import JoinedRows
from lvm_lab.data.store import Documents, Store
from lvm_lab.errors import UserError


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
        contract = either(contract, store.contract)
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


def either(mine: EncoderContract, theirs: EncoderContract) -> EncoderContract:
    """What either of two contracts without conflict says."""
    facts = {name: getattr(theirs, name) for name in vars(theirs) if getattr(mine, name) is None}
    return replace(mine, **facts, probes={**theirs.probes, **mine.probes})
