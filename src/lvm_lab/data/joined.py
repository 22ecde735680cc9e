"""Several stores read as one: rows counted through, documents kept apart, nothing copied.

Shape suffixes: N rows of all stores, D vector dim.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.documents import concatenate
from lvm_lab.data.rows import JoinedRows
from lvm_lab.data.store import Store
from lvm_lab.data.tmd import join, join_tables
from lvm_lab.errors import UserError

# The source of documents whose file names none (`lvm_lab.data.importers.npz`).
UNNAMED = "npz"


@dataclass(frozen=True)
class JoinedStore(Store):
    """A store whose rows lie in several others. weights: how often training draws of each; empty: of all alike."""

    stores: tuple[Store, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def weight_D(self) -> np.ndarray | None:
        """The weight of every document, by its number; None where all are alike."""
        if not self.weights:
            return None
        number_S = self.documents.numbers()
        weight_D = np.ones(int(number_S.max()) + 1)
        weight_D[number_S] = np.asarray(self.weights)[self.documents.store]
        return weight_D

    def texts(self) -> list[str] | None:
        """Every store's texts, empty where one has none; None where no store has any."""
        return self._one_after_the_other([store.texts() for store in self.stores])

    def chunk_ids(self) -> list[str] | None:
        return self._one_after_the_other([store.chunk_ids() for store in self.stores])

    def _one_after_the_other(self, by_store: list[list[str] | None]) -> list[str] | None:
        if all(values is None for values in by_store):
            return None
        none = ([""] * len(store.vectors_ND) for store in self.stores)
        return [value for values, empty in zip(by_store, none, strict=True) for value in (values or empty)]


def join_stores(stores: Sequence[Store], weights: Sequence[float] = (), setting: str = "data.path") -> Store:
    """One store of several; equal ids in two of them are two documents, each in the part that it has alone.

    weights: of each store, in their order; none: all are alike. setting: where they are listed, for messages. The
    order of the stores counts for nothing. Raises UserError for the same content twice, for stores of another encoder
    or dim, and for isolated windows beside whole documents.
    """
    order = sorted(range(len(stores)), key=lambda place: stores[place].content)
    stores = [stores[place] for place in order]
    first = stores[0]
    if len(stores) == 1:
        return first
    for one, other in itertools.pairwise(stores):
        if one.content == other.content:
            raise UserError(f"{setting} lists the same vectors twice ({one.name} and {other.name}); list them once.")
    contract = first.contract
    for store in stores[1:]:
        conflict = contract.conflict(store.contract)
        if conflict:
            raise UserError(
                f"{setting} lists vectors of different encoders ({first.name} and {store.name}: {conflict}); "
                "take those of one encoder."
            )
        if store.isolated != first.isolated:
            raise UserError(
                f"{setting} mixes isolated windows with whole documents ({first.name} and {store.name}); "
                "bring the documents that the windows were cut from, or take one of the two."
            )
        contract = either(contract, store.contract)
    rows = JoinedRows([store.vectors_ND for store in stores])
    documents = concatenate([store.documents for store in stores], [len(store.vectors_ND) for store in stores])
    table, codes = join_tables(
        [store.tmd for store in stores], [store.codes_N for store in stores], [store.name for store in stores]
    )
    return JoinedStore(
        path=first.path.parent,
        vectors_ND=rows,
        documents=replace(documents, store=[i for i, store in enumerate(stores) for _ in range(len(store.documents))]),
        contract=replace(contract, dtype=str(rows.dtype)),
        isolated=first.isolated,
        reason="; ".join(dict.fromkeys(store.reason for store in stores if store.reason)),
        documents_known=all(store.documents_known for store in stores),
        content=hashlib.sha256("".join(store.content for store in stores).encode()).hexdigest(),
        codes_N=join(codes, [len(store.vectors_ND) for store in stores]),
        tmd=table,
        stores=tuple(stores),
        weights=tuple(float(weights[place]) for place in order) if len(set(weights)) > 1 else (),
    )


def document_sources(store: Store) -> list[str]:
    """Where each document is from, by its number: the source that its text had; of a file without any its store."""
    names = store.documents.source
    if isinstance(store, JoinedStore):
        files = [PurePath(one.name).stem for one in store.stores]
        names = [
            files[one] if name == UNNAMED else name for name, one in zip(names, store.documents.store, strict=True)
        ]
    of_number = dict(zip(store.documents.numbers().tolist(), names, strict=True))
    return [of_number[number] for number in range(len(of_number))]


def either(mine: EncoderContract, theirs: EncoderContract) -> EncoderContract:
    """What either of two contracts without conflict says."""
    facts = {name: getattr(theirs, name) for name in vars(theirs) if getattr(mine, name) is None}
    return replace(mine, **facts, probes={**theirs.probes, **mine.probes})
