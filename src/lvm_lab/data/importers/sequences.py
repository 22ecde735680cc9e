"""The sequences-D layout: windows cut from documents, glued back together where they say how.

Shape suffixes: W windows of the file, L context length, P = L + 1 positions of a window, D vector
dim, S slots (the distinct chunks that the windows name), N rows of a bank.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lvm_lab.data.importers import gluing
from lvm_lab.data.importers.article_bank import BankIndex, Material, index_bank, make_documents, read_bank
from lvm_lab.data.importers.npz_file import NpzFile
from lvm_lab.errors import UserError

CONTEXTS = ("contexts", "context", "context_sequences", "X")
TARGETS = ("targets", "target", "target_vectors", "y")
NEEDED = (
    "a sequence file needs contexts (N x L x D) and targets (N x D), with article_ids (N) and target_indices (N) to "
    "find its documents"
)
# Float16 keeps 11 bits: a vector stored in both precisions differs by half of this.
HALF_TOLERANCE = 1e-3


@dataclass(frozen=True)
class SequenceIndex:
    """What a sequence file says about its windows; None where it does not."""

    contexts: str
    targets: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    article_W: np.ndarray | None
    target_W: np.ndarray | None
    context_WL: np.ndarray | None


def is_sequences(npz: NpzFile) -> bool:
    return npz.find(*CONTEXTS, rank=3) is not None and npz.find(*TARGETS) is not None


def index_sequences(npz: NpzFile) -> SequenceIndex:
    """Read a sequence file's ids; the vectors stay unread."""
    contexts, targets = npz.find(*CONTEXTS, rank=3), npz.find(*TARGETS)
    if contexts is None or targets is None:
        raise UserError(f"{npz.path} lacks its windows: {NEEDED}; add what is missing.")
    others = sorted(key for key in npz.headers if key.endswith(("_context_sequences", "_contexts")))
    if others:
        raise UserError(
            f"{npz.path} holds windows of several parts ({', '.join([contexts, *others])}), and parts are made here, "
            "by document; save all windows under one contexts and one targets."
        )
    npz.require(contexts, (None, None, None), "N x L x D")
    windows, length, dim = npz.headers[contexts].shape
    npz.require(targets, (windows, dim), "N x D")

    def indices(key: str, shape: tuple[int, ...], meaning: str) -> np.ndarray | None:
        return npz.indices(key, shape, meaning) if key in npz.headers else None

    return SequenceIndex(
        contexts,
        targets,
        (windows, length, dim),
        npz.vector_dtype(contexts, targets),
        indices("article_ids", (windows,), "one integer for each window"),
        indices("target_indices", (windows,), "one integer for each window"),
        indices("context_indices", (windows, length), "one integer for each context vector"),
    )


def read_sequences(npz: NpzFile, index: SequenceIndex, source: str) -> Material:
    """Documents where the windows can be glued, else isolated windows."""
    if index.article_W is None:
        return _glue_by_overlap(npz, index, source)
    if index.target_W is None:
        return _isolate(npz, index, source, "it has no target_indices")
    material = _glue(npz, index, source, index.article_W, index.target_W)
    if material is None:
        return _isolate(npz, index, source, "its indices give one position to different vectors")
    return material


def join_bank(npz: NpzFile, index: SequenceIndex, bank: NpzFile, source: str) -> Material:
    """The bank's documents that the sequence file draws on.

    `target_indices` means the chunk's index, its place in the article counted from 0, or the
    bank's global row: whichever makes every target equal to the bank's vector.
    """
    if index.target_W is None:
        raise UserError(
            f"{npz.path} has no target_indices, without which it cannot be joined to {bank.path}; import the bank "
            "itself as the data."
        )
    bank_index = index_bank(bank)
    if bank.headers[bank_index.key].shape[1] != index.shape[2]:
        raise UserError(
            f"{bank.path} has vectors of {bank.headers[bank_index.key].shape[1]} dimensions and {npz.path} of "
            f"{index.shape[2]}; give the bank that the sequences were cut from."
        )
    shares = []
    for meaning, row_W in _readings(index, bank_index):
        in_bank = row_W >= 0
        if not in_bank.any():
            shares.append(f"0.0% as {meaning}")
            continue
        keep_N = np.isin(bank_index.article_N, np.unique(bank_index.article_N[row_W[in_bank]]))
        material = read_bank(bank, bank_index, source, keep_N)
        place_W = np.where(in_bank, np.cumsum(keep_N)[row_W] - 1, -1)
        share = _share_equal(npz, index, material.vectors_ND, place_W)
        if share == 1:
            return material
        shares.append(f"{100 * share:.1f}% as {meaning}")
    raise UserError(
        f"{npz.path}: its targets are not the vectors that its target_indices name in {bank.path} (equal: "
        f"{', '.join(shares)}); give the bank that the sequences were cut from, or leave data.bank_path out."
    )


def _readings(index: SequenceIndex, bank: BankIndex) -> list[tuple[str, np.ndarray]]:
    """For each meaning of target_indices, the sorted bank row of each window's target, or -1."""
    target_W = index.target_W
    assert target_W is not None
    readings = []
    if index.article_W is not None:
        ids, start = np.unique(bank.article_N, return_index=True)
        place_N = np.arange(len(bank)) - start[np.searchsorted(ids, bank.article_N)]
        readings = [
            ("the chunk's index in its article", _look_up(bank.article_N, bank.chunk_N, index.article_W, target_W)),
            ("the chunk's place in its article", _look_up(bank.article_N, place_N, index.article_W, target_W)),
        ]
    sorted_of_file = np.empty(len(bank), dtype=np.int64)
    sorted_of_file[bank.file_row_N] = np.arange(len(bank))
    inside = target_W < len(bank)
    global_row = np.where(inside, sorted_of_file[np.where(inside, target_W, 0)], -1)
    return [*readings, ("the bank's global row", global_row)]


def _look_up(article_N: np.ndarray, number_N: np.ndarray, article_W: np.ndarray, number_W: np.ndarray) -> np.ndarray:
    """The row of each (article, number) in a table sorted by both, or -1."""
    articles, numbers = np.unique(article_N), np.unique(number_N)

    def rank(values: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.minimum(np.searchsorted(table, values), len(table) - 1)
        return place, table[place] == values

    keys_N = rank(article_N, articles)[0] * len(numbers) + rank(number_N, numbers)[0]
    (article_rank, has_article), (number_rank, has_number) = rank(article_W, articles), rank(number_W, numbers)
    row_W, has_pair = rank(article_rank * len(numbers) + number_rank, keys_N)
    return np.where(has_article & has_number & has_pair, row_W, -1)


def _share_equal(npz: NpzFile, index: SequenceIndex, vectors_ND: np.ndarray, place_W: np.ndarray) -> float:
    equal = 0
    for first, block in npz.vectors(index.targets, index.dtype):
        places = place_W[first : first + len(block)]
        mine = block[places >= 0].astype(np.float32)
        theirs = vectors_ND[places[places >= 0]].astype(np.float32)
        tolerance = HALF_TOLERANCE * np.abs(theirs).max(axis=1, initial=0)
        equal += int(np.count_nonzero(np.abs(mine - theirs).max(axis=1, initial=0) <= tolerance))
    return equal / len(place_W)


def _glue(
    npz: NpzFile, index: SequenceIndex, source: str, article_W: np.ndarray, target_W: np.ndarray
) -> Material | None:
    """Documents from windows that agree wherever they overlap, or None where they do not."""
    windows, length, dim = index.shape
    context_WL = index.context_WL
    if context_WL is None:
        context_WL = target_W[:, None] + np.arange(-length, 0)
    position_WP = np.concatenate([context_WL, target_W[:, None]], axis=1)
    ids, article = np.unique(article_W, return_inverse=True)
    positions, position = np.unique(position_WP, return_inverse=True)
    keys_WP = article[:, None] * len(positions) + position.reshape(windows, length + 1)
    keys_S, slot = np.unique(keys_WP, return_inverse=True)
    slot_WP = slot.reshape(windows, length + 1)
    if np.any(np.diff(slot_WP, axis=1) != 1):
        return None  # context_indices that leave out a chunk which another window has, or are out of order

    vectors_SD = np.empty((len(keys_S), dim), dtype=index.dtype)
    has_vector_S = np.zeros(len(keys_S), dtype=bool)
    for key, slots in ((index.contexts, slot_WP[:, :length]), (index.targets, slot_WP[:, length])):
        for first, block in npz.vectors(key, index.dtype):
            rows = slots[first : first + len(block)]
            new = ~has_vector_S[rows]
            vectors_SD[rows[new]] = block[new]
            has_vector_S[rows] = True
            if not np.array_equal(vectors_SD[rows], block):
                return None

    article_S, position_S = keys_S // len(positions), positions[keys_S % len(positions)]
    continues_S = np.zeros(len(keys_S), dtype=bool)
    continues_S[slot_WP[:, 1:]] = True
    continues_S[1:] |= (np.diff(article_S) == 0) & (np.diff(position_S) == 1)
    start = np.flatnonzero(~continues_S)
    lengths = np.diff([*start, len(keys_S)])
    names = [str(i) for i in ids[article_S[start]].tolist()]
    return Material(
        vectors_SD,
        make_documents(names, start, lengths, source),
        texts=_spread_texts(npz.texts(windows), slot_WP[:, length], len(keys_S)),
    )


def _glue_by_overlap(npz: NpzFile, index: SequenceIndex, source: str) -> Material:
    """Documents of windows that say nothing of them but where they overlap, else isolated ones by shared vectors."""
    windows, length, dim = index.shape
    digest_WP = np.empty((windows, length + 1), dtype=np.int64)
    for key, places in ((index.contexts, slice(0, length)), (index.targets, length)):
        for first, block in npz.vectors(key, index.dtype):
            digest_WP[first : first + len(block), places] = gluing.digests(block)
    number_WP, digest_V = gluing.chunk_numbers(digest_WP)
    chains = gluing.chains(number_WP, digest_V)
    if chains is None:
        isolated = _isolate(npz, index, source, gluing.UNKNOWN, gluing.components(number_WP, digest_V))
        return replace(isolated, documents_known=False)
    vectors_ND = np.empty((int(chains.length_S.sum()), dim), dtype=index.dtype)
    for key, row_WK in ((index.contexts, chains.row_WP[:, :length]), (index.targets, chains.row_WP[:, length])):
        for first, block in npz.vectors(key, index.dtype):
            vectors_ND[row_WK[first : first + len(block)]] = block
    return Material(
        vectors_ND,
        make_documents(chains.names_S, chains.start_S, chains.length_S, source),
        texts=_spread_texts(npz.texts(windows), chains.row_WP[:, length], len(vectors_ND)),
    )


def _isolate(npz: NpzFile, index: SequenceIndex, source: str, reason: str, names: list[str] | None = None) -> Material:
    windows, length, dim = index.shape
    vectors_WPD = np.empty((windows, length + 1, dim), dtype=index.dtype)
    for first, block in npz.vectors(index.contexts, index.dtype):
        vectors_WPD[first : first + len(block), :length] = block
    for first, block in npz.vectors(index.targets, index.dtype):
        vectors_WPD[first : first + len(block), length] = block
    start = np.arange(windows) * (length + 1)
    if names is None:
        assert index.article_W is not None, "windows without articles have names of their components"
        names = [str(i) for i in index.article_W.tolist()]
    return Material(
        vectors_WPD.reshape(-1, dim),
        make_documents(names, start, np.full(windows, length + 1), source),
        texts=_spread_texts(npz.texts(windows), start + length, windows * (length + 1)),
        isolated=True,
        reason=reason,
    )


def _spread_texts(texts_W: list[str] | None, row_W: np.ndarray, rows: int) -> list[str] | None:
    """The targets' texts at the targets' rows; rows that are nobody's target have an empty text."""
    if texts_W is None:
        return None
    spread = [""] * rows
    for row, text in zip(row_W.tolist(), texts_W, strict=True):
        spread[row] = text
    return spread
