"""Contexts to predict from, read in batches: the windows of a store or of one document, or an array of contexts.

Shape suffixes: N rows or contexts of the file, S stretches, B a batch, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.data.contract import UNIT_TOLERANCE, EncoderContract, distance_from_unit
from lvm_lab.data.flaws import flaw
from lvm_lab.data.importers import article_bank, sequences
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.importers.npz_file import BLOCK_BYTES, NpzFile
from lvm_lab.data.remote import is_url
from lvm_lab.data.rows import Rows
from lvm_lab.data.store import Store
from lvm_lab.data.tmd import Names, columns
from lvm_lab.errors import UserError

NEEDED = "a store's folder or address, an article bank, vectors (N x D) of one document, or contexts (N x L x D)"
# What a batch says of its contexts, by name: one entry each.
Places = dict[str, np.ndarray]
# The contexts of a batch in float32, oldest vector first, by length: their positions in the batch, and context_BLD.
ByLength = list[tuple[np.ndarray, np.ndarray]]


class Contexts(Protocol):
    """contract: what made the vectors, as far as it is known. places: the names of what `batches` says of each context.
    documents: `documents` and `sources`, what each is called and comes from, by number; empty where nothing says.
    """

    @property
    def contract(self) -> EncoderContract: ...

    @property
    def places(self) -> tuple[str, ...]: ...

    @property
    def documents(self) -> dict[str, np.ndarray]: ...

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[tuple[ByLength, Places]]:
        """Contexts, each batch but the last of `size`, with their places."""
        ...


@dataclass(frozen=True)
class DocumentContexts:
    """Every window of some stretches of rows, the one at a stretch's end included, whose next vector is not there.

    min_context: how many vectors the first window of a stretch reads; the others read one more each, up to
    context_length.
    document_S: the number of each stretch's document. file_row_N: where each row lies in the user's file, if elsewhere.
    codes_N, table: the rows' TMD codes, whose columns then stand behind the vectors, and what they mean.
    """

    vectors_ND: Rows
    start_S: np.ndarray
    length_S: np.ndarray
    document_S: np.ndarray
    context_length: int
    min_context: int
    contract: EncoderContract
    documents: dict[str, np.ndarray] = field(default_factory=dict)
    file_row_N: np.ndarray | None = None
    codes_N: np.ndarray | None = None
    table: Names | None = None

    @property
    def places(self) -> tuple[str, ...]:
        return ("document", "row", "after_row") if self.documents else ("row", "after_row")

    @property
    def ends_S(self) -> np.ndarray:
        """How many windows there are up to each stretch's end."""
        return np.cumsum(np.maximum(self.length_S - self.min_context + 1, 0))

    def __len__(self) -> int:
        return int(self.ends_S[-1]) if len(self.start_S) else 0

    def batches(self, size: int) -> Iterator[tuple[ByLength, Places]]:
        """The places: document, the row that is predicted (-1 after a stretch's end), the last row that is read."""
        # An index over all windows would grow with the store; one over its documents tells where each lies.
        ends_S, total = self.ends_S, len(self)
        for first in range(0, total, size):
            window_B = np.arange(first, min(first + size, total))
            stretch_B = np.searchsorted(ends_S, window_B, side="right")
            before_B = np.where(stretch_B > 0, ends_S[stretch_B - 1], 0)
            next_B = self.start_S[stretch_B] + window_B - before_B + self.min_context
            length_B = np.minimum(next_B - self.start_S[stretch_B], self.context_length)
            inside_B = next_B < self.start_S[stretch_B] + self.length_S[stretch_B]
            row_B = np.where(inside_B, self._in_file(np.where(inside_B, next_B, 0)), -1)
            values = (self.document_S[stretch_B], row_B, self._in_file(next_B - 1))
            places = dict(zip(("document", "row", "after_row"), values, strict=True))
            contexts: ByLength = []
            for length in np.unique(length_B).tolist():
                some = np.flatnonzero(length_B == length)
                rows_BL = next_B[some, None] + np.arange(-length, 0)
                context_BLD = self.vectors_ND[rows_BL].astype(np.float32)
                if self.codes_N is not None:
                    context_BLD = np.concatenate([context_BLD, columns(self.codes_N[rows_BL])], axis=-1)
                contexts.append((some, context_BLD))
            yield contexts, {name: places[name] for name in self.places}

    def _in_file(self, rows_B: np.ndarray) -> np.ndarray:
        return rows_B if self.file_row_N is None else self.file_row_N[rows_B]


@dataclass(frozen=True)
class ArrayContexts:
    """An array of contexts, N x L x D, in its own order. read: its blocks along the first axis, anew at each call."""

    read: Callable[[], Iterator[np.ndarray]]
    count: int
    contract: EncoderContract
    documents: dict[str, np.ndarray] = field(default_factory=dict)
    places: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[tuple[ByLength, Places]]:
        """Without places: a prediction stands where its context does."""
        rest_BLD: np.ndarray | None = None
        for block_BLD in self.read():
            rest_BLD = block_BLD if rest_BLD is None else np.concatenate([rest_BLD, block_BLD])
            while len(rest_BLD) >= size:
                yield [(np.arange(size), rest_BLD[:size].astype(np.float32))], {}
                rest_BLD = rest_BLD[size:]
        if rest_BLD is not None and len(rest_BLD):
            yield [(np.arange(len(rest_BLD)), rest_BLD.astype(np.float32))], {}


def open_contexts(path: Path | str, cache: Path, settings: DataSettings) -> Contexts:
    """What a user points at, looked through: a store's folder or address, an .npz or an .npy.

    cache: where an article bank is imported. settings: how the model's windows are cut. Raises UserError for anything
    else, for vectors of which no model may be asked, contexts of another length, and where no document is as long as a
    context.
    """
    if is_url(path) or Path(path).is_dir():
        # An opening asks for windows, which have a target too.
        return _of_store(open_source(path, cache, context_length=0), settings)
    path = Path(path)
    if path.suffix == ".npy":
        return _of_npy(path, settings)
    with NpzFile(path) as npz:
        contexts = npz.find(*sequences.CONTEXTS, rank=3)
        vectors = npz.find(*article_bank.VECTORS, rank=2)
        if contexts is not None:
            npz.require(contexts, (None, None, None), "N x L x D")
            npz.vector_dtype(contexts)
            return _of_array(path, npz.headers[contexts].shape, lambda: _member(path, contexts), settings)
        if vectors is None:
            there = ", ".join(f"{key} {header.shape}" for key, header in sorted(npz.headers.items()))
            raise UserError(f"{path} has {there}, which is none of what is needed: give {NEEDED}.")
        if npz.find(*article_bank.ARTICLES, *article_bank.CHUNKS) is None:
            npz.require(vectors, (None, None), "N x D")
            dtype = npz.vector_dtype(vectors)
            vectors_ND = np.concatenate([block for _, block in npz.vectors(vectors, dtype)])
            return _of_document(path, vectors_ND, settings)
        index = article_bank.index_bank(npz)
    _, counts = np.unique(index.article_N, return_counts=True)
    _require_length(path, counts, settings)
    return _of_store(open_source(path, cache, context_length=0), settings, index.file_row_N)


def _of_store(store: Store, settings: DataSettings, file_row_N: np.ndarray | None = None) -> DocumentContexts:
    documents = store.documents
    _require_length(store.name, documents.length, settings)
    number_S = documents.numbers()
    _, first = np.unique(number_S, return_index=True)
    names = {
        name: np.array([texts[stretch] for stretch in first.tolist()])
        for name, texts in (("documents", documents.id), ("sources", documents.source))
    }
    ends = (documents.start, documents.length, number_S)
    lengths = (settings.context_length, settings.shortest)
    coded = (store.codes_N, store.tmd)
    return DocumentContexts(store.vectors_ND, *ends, *lengths, store.contract, names, file_row_N, *coded)


def _of_document(path: Path, vectors_ND: np.ndarray, settings: DataSettings) -> DocumentContexts:
    whole = (np.array([0]), np.array([len(vectors_ND)]), np.array([0]))
    _require_length(path, whole[1], settings)
    contract = _measured(vectors_ND.shape[-1], _slices(path, vectors_ND))
    return DocumentContexts(vectors_ND, *whole, settings.context_length, settings.shortest, contract)


def _of_array(
    path: Path, shape: tuple[int, ...], read: Callable[[], Iterator[np.ndarray]], settings: DataSettings
) -> ArrayContexts:
    count, length, dim = shape
    if length not in settings.lengths:
        raise UserError(
            f"{path} has contexts of {length} vectors and the model reads {settings.length_words}; "
            f"save the last {settings.context_length} of each."
        )
    return ArrayContexts(read, count, _measured(dim, read()))


def _of_npy(path: Path, settings: DataSettings) -> Contexts:
    if not path.is_file():
        what = "is no file" if path.exists() else "does not exist"
        raise UserError(f"{path} {what}; give {NEEDED}.")
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a readable .npy ({error}); save it with numpy.save.") from error
    if array.ndim not in (2, 3) or array.dtype.kind != "f" or not array.size:
        shape = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{path} holds {shape}; save float vectors (N x D) or contexts (N x L x D).")
    if array.ndim == 2:
        return _of_document(path, array, settings)
    return _of_array(path, array.shape, lambda: _slices(path, array), settings)


def _member(path: Path, key: str) -> Iterator[np.ndarray]:
    with NpzFile(path) as npz:
        for _, block in npz.vectors(key, npz.vector_dtype(key)):
            yield block


def _slices(path: Path, array: np.ndarray) -> Iterator[np.ndarray]:
    """A mapped array in slices, flaws refused."""
    step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
    for first in range(0, len(array), step):
        block = array[first : first + step]
        flawed = flaw(block)
        if flawed is not None:
            (row, *rest), words = flawed
            raise UserError(f"{path}: vector {', '.join(map(str, (first + row, *rest)))} {words}.")
        yield block


def _measured(dim: int, blocks: Iterator[np.ndarray]) -> EncoderContract:
    """What vectors say of their encoder: their dim, and whether all are of length 1."""
    farthest = max((distance_from_unit(block) for block in blocks), default=0.0)
    return EncoderContract(dim=dim, normalised=farthest <= UNIT_TOLERANCE)


def _require_length(name: Path | str, lengths: np.ndarray, settings: DataSettings) -> None:
    longest = int(lengths.max(initial=0))
    if longest < settings.shortest:
        key = "context_length" if settings.shortest == settings.context_length else "min_context"
        raise UserError(
            f"{name}: the model reads {settings.shortest} vectors{'' if key == 'context_length' else ' at least'} and "
            f"the longest document has {longest}; bring longer documents, or take a model of a smaller data.{key}."
        )
