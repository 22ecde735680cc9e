"""A store in the layouts of `.npz` files that others read: what each array holds, and what a layout cannot hold.

Shape suffixes: N rows of the store, S stretches, W windows, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lvm_lab.data import tmd
from lvm_lab.data.split import PARTS, part_of
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError

BLOCK_BYTES = 8 << 20
LARGEST_ID = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Member:
    """One array of a file: its dtype and shape, and its rows in blocks, made anew at each call."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[np.ndarray]]


Members = dict[str, Member]


@dataclass(frozen=True)
class Export:
    """A store that is to be written: with how many vectors in a context, and with or without its texts.

    Raises UserError where no document has a window, or texts are wanted and not there.
    """

    store: Store
    context_length: int
    with_texts: bool

    def __post_init__(self) -> None:
        if self.with_texts and self.texts is None:
            raise UserError(f"{self.store.name} has no texts; leave --texts out.")
        if any(not name or name.endswith("\0") for name in self.store.documents.id):
            raise UserError(f"{self.store.name} has a document without an id; write the store again with one for each.")

    @cached_property
    def texts(self) -> list[str] | None:
        return self.store.texts()

    @cached_property
    def number_S(self) -> np.ndarray:
        """The document of every stretch."""
        return self.store.documents.numbers()

    @cached_property
    def ids(self) -> np.ndarray:
        """By document: integers where all ids are such in growing order, as an import sorts them; else texts."""
        documents = self.store.documents
        first_S = np.unique(self.number_S, return_index=True)[1].tolist()
        names = [documents.id[stretch] for stretch in first_S]
        if len(set(names)) < len(names):
            names = [f"{documents.source[stretch]}/{documents.id[stretch]}" for stretch in first_S]
        plain = all(name.isdecimal() and str(int(name)) == name and int(name) <= LARGEST_ID for name in names)
        numbers = [int(name) for name in names] if plain else []
        return np.array(numbers if plain and numbers == sorted(numbers) else names)

    @cached_property
    def place_N(self) -> np.ndarray:
        """Each row's place in its document, counted from 0; between two stretches one place stays free."""
        documents = self.store.documents
        place_N = np.full(len(self.store.vectors_ND), -1, dtype=np.int64)
        ends: dict[int, int] = {}
        for number, start, length in zip(self.number_S.tolist(), documents.start, documents.length, strict=True):
            before = ends.get(number, -1) + 1
            place_N[start : start + length] = before + np.arange(length)
            ends[number] = before + int(length)
        return place_N

    @cached_property
    def document_N(self) -> np.ndarray:
        return self.store.documents.by_row(len(self.store.vectors_ND))

    @cached_property
    def row_W(self) -> np.ndarray:
        """The row of each window's target, document by document."""
        documents, length = self.store.documents, self.context_length
        rows = [np.arange(s + length, s + n) for s, n in zip(documents.start, documents.length, strict=True)]
        row_W = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        if not len(row_W):
            longest = int(documents.length.max(initial=0))
            raise UserError(
                f"{self.store.name}: no document is longer than the context of {length} (the longest has {longest} "
                "chunks); give a smaller --context-length."
            )
        return row_W

    def codes_of(self, name: str, row_K: np.ndarray, prefix: str = "") -> Members:
        """The TMD codes of some rows under a name, -1 for none, with what they mean where that is known."""
        if self.store.codes_N is None or self.store.tmd is None:
            return {}
        codes_K = self.store.codes_N[row_K]
        numbers = {key[:-1]: values.astype(np.int16) for key, values in tmd.unpack(codes_K).items()}
        signed_K = np.where(codes_K == tmd.MISSING, -1, codes_K.astype(np.int32))
        names = {f"tmd_{key}": np.array(getattr(self.store.tmd, key)) for key in tmd.FIELDS if self.store.tmd}
        members = {name: signed_K} | {f"{prefix}{key}_codes": values for key, values in numbers.items()} | names
        return {key: whole(values) for key, values in members.items()}

    def ids_of(self, row_K: np.ndarray) -> Members:
        """What some rows are called, where the store knows."""
        ids = self.store.chunk_ids()
        return {} if ids is None else {"cpe_ids": whole(np.array([ids[row] for row in row_K.tolist()]))}

    def vectors(self, row_K: np.ndarray) -> Member:
        """The vectors of some rows."""
        return self._gathered(row_K, np.zeros(1, dtype=np.int64), ())

    def contexts(self, row_W: np.ndarray) -> Member:
        """The vectors before each of some rows, oldest first."""
        return self._gathered(row_W, np.arange(-self.context_length, 0), (self.context_length,))

    def _gathered(self, row_K: np.ndarray, offsets: np.ndarray, places: tuple[int, ...]) -> Member:
        vectors_ND = self.store.vectors_ND
        shape = (len(row_K), *places, self.store.dim)
        step = max(1, BLOCK_BYTES // (len(offsets) * self.store.dim * vectors_ND.dtype.itemsize))

        def blocks() -> Iterator[np.ndarray]:
            for first in range(0, len(row_K), step):
                rows = row_K[first : first + step, None] + offsets
                yield np.asarray(vectors_ND[rows]).reshape(-1, *shape[1:])

        return Member(vectors_ND.dtype, shape, blocks)

    def texts_of(self, name: str, row_K: np.ndarray) -> Members:
        """The texts of some rows under a name, where they are wanted."""
        if not self.with_texts:
            return {}
        texts = self.texts
        assert texts is not None, "looked at before"
        longest = max((len(texts[row] or "") for row in row_K.tolist()), default=0)
        dtype = np.dtype(f"<U{max(1, longest)}")
        step = max(1, BLOCK_BYTES // dtype.itemsize)

        def blocks() -> Iterator[np.ndarray]:
            for first in range(0, len(row_K), step):
                yield np.array([texts[row] or "" for row in row_K[first : first + step].tolist()], dtype=dtype)

        return {name: Member(dtype, (len(row_K),), blocks)}


def whole(values: np.ndarray) -> Member:
    return Member(values.dtype, values.shape, lambda: iter([values]))


def article_bank(export: Export) -> Members:
    return _bank(export, "article_indices", "chunk_indices", first=0)


def ordered_bank(export: Export) -> Members:
    return _bank(export, "batch_ids", "seq_in_article", first=1)


def _bank(export: Export, articles: str, places: str, first: int) -> Members:
    if export.store.isolated:
        raise UserError(
            f"{export.store.name} holds isolated windows, which are no documents in order; take layout=sequences."
        )
    row_K = np.flatnonzero(export.document_N >= 0)
    return {
        "vectors": export.vectors(row_K),
        articles: whole(export.ids[export.document_N[row_K]]),
        places: whole(export.place_N[row_K] + first),
        **export.texts_of("concept_texts", row_K),
        **export.ids_of(row_K),
        **export.codes_of("tmd_codes", row_K),
    }


def sequences(export: Export) -> Members:
    return _windows(export, export.row_W, "contexts", "targets", "article_ids", "target_indices")


def doc_ids(export: Export) -> Members:
    return _windows(export, export.row_W, "context_sequences", "target_vectors", "doc_ids")


def split(export: Export) -> Members:
    """The lab's own parts, all of whose windows are valid."""
    documents = export.store.documents
    part_of_document = dict(zip(export.number_S.tolist(), map(part_of, documents.names()), strict=True))
    part_S = np.array([part_of_document[number] for number in range(len(part_of_document))])
    part_W = part_S[export.document_N[export.row_W]]
    members: Members = {}
    for part in PARTS:
        row_W = export.row_W[part_W == part]
        # Without windows there is nothing that an import could tell from damage.
        if len(row_W):
            names = (f"{part}_contexts", f"{part}_targets", f"{part}_article_ids", f"{part}_target_indices")
            members |= _windows(export, row_W, *names, prefix=f"{part}_")
            members[f"{part}_masks"] = whole(np.ones(len(row_W), dtype=np.int8))
    return members


def long_context(export: Export) -> Members:
    members = _windows(export, export.row_W, "context_sequences", "target_vectors")
    return members | {"target_indices": whole(export.row_W)}


def _windows(
    export: Export,
    row_W: np.ndarray,
    contexts: str,
    targets: str,
    ids: str | None = None,
    places: str | None = None,
    prefix: str = "",
) -> Members:
    members = {contexts: export.contexts(row_W), targets: export.vectors(row_W)}
    if ids is not None:
        members[ids] = whole(export.ids[export.document_N[row_W]])
    if places is not None:
        members[places] = whole(export.place_N[row_W])
    codes = export.codes_of(f"{prefix}target_tmds", row_W, prefix)
    return members | export.texts_of(f"{prefix}target_texts", row_W) | codes


LAYOUTS: dict[str, Callable[[Export], Members]] = {
    layout.__name__: layout for layout in (article_bank, ordered_bank, sequences, doc_ids, split, long_context)
}
BANKS: Sequence[str] = ("article_bank", "ordered_bank")


def losses(export: Export, layout: str) -> list[str]:
    """What the layout cannot hold of this store, or was not asked to, as phrases."""
    documents = export.store.documents
    gaps = len(export.number_S) - len(set(export.number_S.tolist()))
    short = int(np.count_nonzero(documents.length <= export.context_length))
    firsts = f"texts of the first {export.context_length} chunks of a document"
    stated = {
        "titles": any(documents.title),
        "sources (an import may cut other parts)": any(source != "npz" for source in documents.source),
        "what made the vectors": export.store.contract.encoder is not None,
        "texts (--texts writes them)": not export.with_texts and export.texts is not None,
        "that its windows are isolated": export.store.isolated,
    }
    if layout in BANKS:
        stated[f"{gaps:,} places where chunks are missing, which an import goes over"] = gaps > 0
    else:
        stated[firsts] = export.with_texts
        stated[f"{short:,} stretches no longer than a context"] = short > 0
    stated["ids of documents, which an import tells by where windows overlap"] = layout == "long_context"
    return [phrase for phrase, holds in stated.items() if holds]
