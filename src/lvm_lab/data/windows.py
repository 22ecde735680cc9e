"""Windows: an index of (context, target) places over a store's rows, gathered when asked for.

Shape suffixes: W windows, B a batch of them, L context length, D vector dim, N rows of the store, S stretches,
K rows of a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.config.data import FEWEST_READ
from lvm_lab.data.rows import Rows
from lvm_lab.data.store import Store
from lvm_lab.data.tmd import Names, columns


@dataclass(frozen=True)
class Windows:
    """Windows of one part. All arrays have one entry a window; nothing is copied from the store.

    vectors_ND: the store's memory map, or several read as one.
    target_row_W: the row of the target; the context is the `context_length` rows before it, or those that its stretch
        has: see `length_W`.
    document_W: the number of the window's document (stretches of one document share it).
    start_W, end_W: the rows [start, end) of the unbroken stretch that the window lies in.
    excluded_N: rows of the store that are no targets and no negatives, if any.
    isolated: the stretches are single windows from a sequence file, so that what comes after a
        target is unknown.
    normalised: the encoder's vectors have unit length.
    documents_known: whether `document_W` numbers true documents, and not windows that share a vector.
    text_N: digests of the texts of the store's rows, 0 for none, where it has any.
    stretches_S3: document, start and end of every stretch of the windows' documents, also of those too short for a
        window; None: of the windows alone.
    seen_N: rows of the store that somebody was trained on, if any; windows that hold one are taken out.
    codes_N, table: the TMD codes of the store's rows, where it has any, and what they mean.
    """

    vectors_ND: Rows
    target_row_W: np.ndarray
    document_W: np.ndarray
    start_W: np.ndarray
    end_W: np.ndarray
    context_length: int
    excluded_N: np.ndarray | None = None
    isolated: bool = False
    normalised: bool = False
    text_N: np.ndarray | None = None
    documents_known: bool = True
    stretches_S3: np.ndarray | None = None
    seen_N: np.ndarray | None = None
    codes_N: np.ndarray | None = None
    table: Names | None = None

    def __len__(self) -> int:
        return len(self.target_row_W)

    @property
    def dim(self) -> int:
        return int(self.vectors_ND.shape[1])

    @property
    def length_W(self) -> np.ndarray:
        """How many vectors each window reads: context_length, and fewer near the beginning of its stretch."""
        return np.minimum(self.context_length, self.target_row_W - self.start_W)

    def by_length(self) -> Iterator[tuple[np.ndarray, Windows]]:
        """For each length of context, shortest first: the positions of its windows, and these, whose context_length it
        is. A predictor reads contexts of one true length at a time, never padded ones."""
        length_W = self.length_W
        for length in np.unique(length_W).tolist():
            positions = np.flatnonzero(length_W == length)
            yield positions, replace(self.select(positions), context_length=length)

    def slices(self, at_most: int) -> Iterator[tuple[np.ndarray, Windows]]:
        """`by_length` in slices of at most so many windows; of contexts longer than five fewer, so that a slice never
        holds more vectors than that many contexts of five."""
        for positions, windows in self.by_length():
            size = max(1, at_most * FEWEST_READ // max(windows.context_length, FEWEST_READ))
            for start in range(0, len(positions), size):
                places = slice(start, start + size)
                yield positions[places], windows.select(places)

    @property
    def resampled_W(self) -> np.ndarray:
        """The document of each window as intervals resample them: where none is known there is but one."""
        return self.document_W if self.documents_known else np.zeros_like(self.document_W)

    def select(self, positions: np.ndarray | slice) -> Windows:
        """The windows at the given positions (or where a mask is true), in that order."""
        return replace(
            self,
            target_row_W=self.target_row_W[positions],
            document_W=self.document_W[positions],
            start_W=self.start_W[positions],
            end_W=self.end_W[positions],
        )

    def rows(self, offset: int) -> np.ndarray:
        """The rows at offset k of each window: k = 0 is the last context vector, k = +1 the target.

        Rows outside the window's stretch are returned as they are computed: see `has`.
        """
        return self.target_row_W - 1 + offset

    def has(self, first: int, last: int) -> np.ndarray:
        """Which windows' stretches hold every offset from `first` to `last`."""
        return (self.rows(first) >= self.start_W) & (self.rows(last) < self.end_W)

    def context(self, positions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """context_BLD in float32 for the windows at the given positions, which all read context_length vectors: a
        predictor reads one length at a time (`by_length`)."""
        assert (self.length_W[positions] == self.context_length).all(), "windows of several lengths have no one context"
        return self.vectors(self.context_rows(positions))

    def padded_context(self, count: int, positions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The last `count` vectors of each context in float32, oldest first, after zeros where it has not so many."""
        target_B, length_B = self.target_row_W[positions], np.minimum(self.length_W[positions], count)
        before_L = np.arange(count, 0, -1)
        context_BLD = self.vectors(target_B[:, None] - np.minimum(before_L, length_B[:, None]))
        context_BLD[before_L > length_B[:, None]] = 0
        return context_BLD

    def context_rows(self, positions: np.ndarray | slice = slice(None)) -> np.ndarray:
        """rows_BL of the contexts of the windows at the given positions; where a window reads fewer vectors, its
        stretch's first row stands in the places before them."""
        rows_BL: np.ndarray = self.target_row_W[positions][:, None] + np.arange(-self.context_length, 0)
        return np.maximum(rows_BL, self.start_W[positions][:, None])

    def by_document(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each document that has windows: their positions, and the rows_K of all its stretches, ascending."""
        if self.stretches_S3 is None:
            stretches_S3 = np.unique(np.stack([self.document_W, self.start_W, self.end_W], axis=1), axis=0)
        else:
            stretches_S3 = self.stretches_S3[np.lexsort(self.stretches_S3.T[1::-1])]
        order = np.argsort(self.document_W, kind="stable")
        edges = np.flatnonzero(np.diff(self.document_W[order])) + 1
        for some in np.split(order, edges) if len(order) else []:
            document = self.document_W[some[0]]
            first, last = np.searchsorted(stretches_S3[:, 0], [document, document + 1])
            yield some, np.concatenate([np.arange(start, end) for _, start, end in stretches_S3[first:last]])

    def inputs(self, rows: np.ndarray | None = None) -> np.ndarray:
        """What a predictor reads at the given rows in float32 (None: those of the contexts, as `context`): their
        vectors, and behind each its code's columns where the windows have codes."""
        if rows is None:
            vectors = self.context()
            rows = self.context_rows()
        else:
            vectors = self.vectors(rows)
        return vectors if self.codes_N is None else np.concatenate([vectors, columns(self.codes_N[rows])], axis=-1)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors at the given rows in float32, of shape rows.shape + (D,)."""
        vectors: np.ndarray = self.vectors_ND[rows].astype(np.float32)
        return vectors


def index_windows(
    store: Store,
    stretches: np.ndarray,
    context_length: int,
    *,
    excluded_N: np.ndarray | None = None,
    text_N: np.ndarray | None = None,
    every_position: bool = False,
    min_context: int | None = None,
) -> Windows:
    """Every window of the given stretches (rows of the documents table).

    min_context: the fewest vectors that a window reads; None: context_length.
    excluded_N: rows that may be no target, such as boilerplate that stands in several documents.
    every_position: the training step supervises all positions, so none of the rows from the second
        context vector to the target may be excluded.
    """
    document_of_stretch = store.documents.numbers()
    shortest = context_length if min_context is None else min_context
    targets, documents, starts, ends = [], [], [], []
    start_S = np.asarray(store.documents.start, dtype=np.int64)[stretches]
    end_S = start_S + store.documents.length[stretches]
    for stretch, start, end in zip(stretches, start_S.tolist(), end_S.tolist(), strict=True):
        rows = np.arange(start + shortest, end, dtype=np.int64)
        if excluded_N is not None and len(rows):
            supervised = context_length if every_position else 1
            counts = np.concatenate([[0], np.cumsum(excluded_N[start:end])])
            bad = counts[rows + 1 - start] - counts[np.maximum(rows + 1 - supervised - start, 1)]
            rows = rows[bad == 0]
        targets.append(rows)
        documents.append(np.full(len(rows), document_of_stretch[stretch], dtype=np.int64))
        starts.append(np.full(len(rows), start, dtype=np.int64))
        ends.append(np.full(len(rows), end, dtype=np.int64))
    empty = [np.empty(0, dtype=np.int64)]
    return Windows(
        vectors_ND=store.vectors_ND,
        target_row_W=np.concatenate(targets or empty),
        document_W=np.concatenate(documents or empty),
        start_W=np.concatenate(starts or empty),
        end_W=np.concatenate(ends or empty),
        context_length=context_length,
        excluded_N=excluded_N,
        isolated=store.isolated,
        normalised=bool(store.contract.normalised),
        text_N=text_N,
        documents_known=store.documents_known,
        stretches_S3=np.stack([document_of_stretch[stretches], start_S, end_S], axis=1),
        codes_N=store.codes_N,
        table=store.tmd,
    )


def of_one_length(*parts: Windows) -> list[Windows]:
    """The windows of all parts with contexts of one length: as they are where each reads context_length vectors.

    Else the last five vectors of those that read so many, or as many as the longest windows of every part read.
    """
    if all((part.length_W == part.context_length).all() for part in parts):
        return list(parts)
    length = min(FEWEST_READ, *(int(part.length_W.max(initial=0)) or FEWEST_READ for part in parts))
    return [replace(part.select(part.length_W >= length), context_length=length) for part in parts]


def sample_evenly(windows: Windows, at_most: int, seed: int) -> Windows:
    """A seeded sample of at most so many windows, drawn evenly over documents, in store order.

    Documents give their k-th drawn window before any gives its (k + 1)-th, so that a long document
    counts no more than its neighbours while they have windows left.
    """
    if len(windows) <= at_most:
        return windows
    return windows.select(even_sample(windows.document_W, at_most, seed))


def even_sample(document_W: np.ndarray, at_most: int, seed: int) -> np.ndarray:
    """The positions of such a sample of whatever has these documents, ascending."""
    if len(document_W) <= at_most:
        return np.arange(len(document_W))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(document_W))
    documents = document_W[order]
    by_document = np.argsort(documents, kind="stable")
    grouped = documents[by_document]
    first = np.concatenate([[True], grouped[1:] != grouped[:-1]])
    turn_sorted = np.arange(len(grouped)) - np.maximum.accumulate(np.where(first, np.arange(len(grouped)), 0))
    turn = np.empty(len(grouped), dtype=np.int64)
    turn[by_document] = turn_sorted
    sample = order[np.argsort(turn, kind="stable")[:at_most]]
    return np.sort(sample)


def stripes(others_W: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """pick_WM: of so many things in a row, one drawn from each of `count` equal stripes, so that none comes twice; and
    which picks are real: where there are fewer things than stripes, each comes once."""
    stripe_M = np.arange(count)[None, :]
    low_WM = stripe_M * others_W[:, None] // count
    high_WM = (stripe_M + 1) * others_W[:, None] // count
    pick_WM = low_WM + (rng.random(low_WM.shape) * (high_WM - low_WM)).astype(np.int64)
    return pick_WM, high_WM > low_WM
