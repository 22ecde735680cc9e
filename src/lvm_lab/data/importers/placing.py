"""Windows of a sequence file back to documents: by their indices, by the order of their rows, or by what they share.

Shape suffixes: W windows of the file, L context length, P = L + 1 positions of a window, D vector dim, N rows of the
store.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from lvm_lab.data.importers import gluing, laying
from lvm_lab.data.importers.article_bank import Material, make_documents
from lvm_lab.data.importers.coded import Coded, read_names
from lvm_lab.data.importers.ids import Ids
from lvm_lab.data.importers.scratch import room
from lvm_lab.data.importers.sequences import SequenceIndex
from lvm_lab.data.tmd import MISSING
from lvm_lab.errors import UserError

NUMBER = "the chunk's number in its document, with gaps"
T = TypeVar("T")


def read_sequences(index: SequenceIndex, source: str) -> Material:
    """Documents where the windows can be glued, else isolated windows; a note says how indices were understood.

    Raises UserError for target_indices that the vectors contradict in every meaning.
    """
    material = _read(index, source)
    if not index.masked:
        return material
    masked = f"{index.masked:,} of {index.masked + index.shape[0]:,} windows are masked out"
    return replace(material, note="; ".join(filter(None, (masked, material.note))))


def _read(index: SequenceIndex, source: str) -> Material:
    if index.articles is None and index.target_W is None:
        return _glue_by_overlap(index, source)
    if index.articles is None:
        return _by_row(index, source)
    if index.target_W is None:
        return _by_order(index, index.articles, source)
    return _by_place(index, index.articles, index.target_W, source)


def _by_place(index: SequenceIndex, articles: Ids, target_W: np.ndarray, source: str) -> Material:
    """By the target's place or row, or where chunk numbers have gaps by the order of its numbers."""
    laid = laying.lay_out(_positions(index, target_W), articles.number_N)
    if laid is None:
        # context_indices that leave out a chunk which another window has, or are out of order.
        return _isolate(index, source, "its context_indices are no unbroken stretches", articles)
    vectors_ND = _fill(index, laid.row_WP)
    meaning = laying.meaning(articles.number_N, target_W, index.shape[1])
    if vectors_ND is None:
        order_W = np.lexsort((target_W, articles.number_N))
        following = laying.follow(_digests(index), articles.number_N, order_W)
        if not following.fits:
            raise _fits_nothing(index)
        position_WP, meaning = laying.ending_at(following.end_W, index.shape[1]), NUMBER
        laid = _given(laying.lay_out(position_WP, articles.number_N))
        vectors_ND = _given(_fill(index, laid.row_WP))
    return _material(index, laid, vectors_ND, articles.names(laid.article_S), source, meaning)


def _by_order(index: SequenceIndex, articles: Ids, source: str) -> Material:
    """By the order of the rows of each document, or in any order by what its windows share."""
    digest_WP = _digests(index)
    order_W = np.argsort(articles.number_N, kind="stable")
    following = laying.follow(digest_WP, articles.number_N, order_W)
    if not following.fits:
        # A chunk is one with another of its own document alone.
        article_W = np.unique(articles.number_N, return_inverse=True)[1]
        salted_WP = np.unique(digest_WP, return_inverse=True)[1].reshape(digest_WP.shape)
        salted_WP = salted_WP + article_W[:, None] * (salted_WP.max() + 1)
        chains = gluing.chains(*gluing.chunk_numbers(salted_WP))
        if chains is not None:
            article_N = np.empty(int(chains.length_S.sum()), dtype=np.int64)
            article_N[chains.row_WP] = articles.number_N[:, None]
            laid = laying.Laid(chains.row_WP, chains.start_S, chains.length_S, article_N[chains.start_S])
            return _material(index, laid, _given(_fill(index, laid.row_WP)), articles.names(laid.article_S), source, "")
    if not following.fits and not following.any:
        return _isolate(index, source, "it has no target_indices, and no window follows another", articles)
    laid = _given(laying.lay_out(laying.ending_at(following.end_W, index.shape[1]), articles.number_N))
    return _material(index, laid, _given(_fill(index, laid.row_WP)), articles.names(laid.article_S), source, "")


def _by_row(index: SequenceIndex, source: str) -> Material:
    """By the target's row in a bank, without articles: documents end where no window goes on."""
    target_W = index.target_W
    assert target_W is not None, "windows without indices are glued by their overlap"
    position_WP = _positions(index, target_W)
    laid = None
    if position_WP.min() >= 0:
        # Rows that stand side by side in a bank may be of two documents: only a window says that they are of one.
        laid = laying.lay_out(position_WP, np.zeros_like(target_W), adjacent=False)
    vectors_ND = None if laid is None else _fill(index, laid.row_WP)
    if laid is not None and vectors_ND is not None:
        stretch_W = np.searchsorted(laid.start_S, laid.row_WP[:, 0], side="right") - 1
        if (laid.length_S[stretch_W] > position_WP.shape[1]).mean() >= gluing.LINKED:
            names = gluing.names(
                np.repeat(np.arange(len(laid.start_S)), laid.length_S),
                *gluing.chunk_numbers(gluing.digests(vectors_ND)),
            )
            return _material(index, laid, vectors_ND, names, source, laying.ROW)
    material = _glue_by_overlap(index, source, target_W)
    if material.isolated:
        return material
    return replace(material, note="; ".join(filter(None, (f"target_indices are {laying.PLACE}", material.note))))


def _glue_by_overlap(index: SequenceIndex, source: str, target_W: np.ndarray | None = None) -> Material:
    """Documents of windows that say nothing of them but where they overlap, else isolated ones by shared vectors.

    target_W: what has to grow along each document, where it is given.
    """
    number_WP, digest_V = gluing.chunk_numbers(_digests(index))
    chains = gluing.chains(number_WP, digest_V)
    if chains is None:
        isolated = _isolate(index, source, gluing.UNKNOWN, None, gluing.components(number_WP, digest_V))
        return replace(isolated, documents_known=False)
    if target_W is not None and not laying.grows(chains, target_W):
        raise _fits_nothing(index)
    laid = laying.Laid(chains.row_WP, chains.start_S, chains.length_S, np.zeros(0))
    return _material(index, laid, _given(_fill(index, laid.row_WP)), chains.names_S, source, "")


def _positions(index: SequenceIndex, target_W: np.ndarray) -> np.ndarray:
    if index.context_WL is None:
        return laying.ending_at(target_W, index.shape[1])
    return np.concatenate([index.context_WL, target_W[:, None]], axis=1)


def _digests(index: SequenceIndex) -> np.ndarray:
    windows, length, _ = index.shape
    digest_WP = np.empty((windows, length + 1), dtype=np.int64)
    for blocks, places in ((index.contexts(), slice(0, length)), (index.targets(), length)):
        for first, block in blocks:
            digest_WP[first : first + len(block), places] = gluing.digests(block)
    return digest_WP


def _fill(index: SequenceIndex, row_WP: np.ndarray) -> np.ndarray | None:
    """The vectors by row; None where two windows have different ones for a row."""
    length, dim = index.shape[1:]
    rows = int(row_WP.max()) + 1
    vectors_ND = room((rows, dim), index.dtype, index.npz.scratch)
    filled_N = np.zeros(rows, dtype=bool)
    for blocks, row in ((index.contexts(), row_WP[:, :length]), (index.targets(), row_WP[:, length])):
        for first, block in blocks:
            rows_B = row[first : first + len(block)]
            new = ~filled_N[rows_B]
            vectors_ND[rows_B[new]] = block[new]
            filled_N[rows_B] = True
            if not np.array_equal(vectors_ND[rows_B], block):
                return None
    return vectors_ND


def _material(
    index: SequenceIndex, laid: laying.Laid, vectors_ND: np.ndarray, names: list[str], source: str, meaning: str
) -> Material:
    codes = index.codes()
    return Material(
        vectors_ND,
        make_documents(names, laid.start_S, laid.length_S, source),
        texts=_spread_texts(index.texts(), laid.row_WP[:, -1], len(vectors_ND)),
        note="; ".join(filter(None, (f"target_indices are {meaning}" if meaning else "", codes.note))),
        codes_N=_spread_codes(codes, laid.row_WP[:, -1], len(vectors_ND)),
        table=read_names(index.npz),
    )


def _isolate(
    index: SequenceIndex, source: str, reason: str, articles: Ids | None, names: list[str] | None = None
) -> Material:
    windows, length, dim = index.shape
    vectors_ND = room((windows * (length + 1), dim), index.dtype, index.npz.scratch)
    vectors_WPD = vectors_ND.reshape(windows, length + 1, dim)
    for first, block in index.contexts():
        vectors_WPD[first : first + len(block), :length] = block
    for first, block in index.targets():
        vectors_WPD[first : first + len(block), length] = block
    start = np.arange(windows) * (length + 1)
    if names is None:
        names = _given(articles).names(_given(articles).number_N)
    codes = index.codes()
    return Material(
        vectors_ND,
        make_documents(names, start, np.full(windows, length + 1), source),
        texts=_spread_texts(index.texts(), start + length, windows * (length + 1)),
        isolated=True,
        reason=reason,
        note=codes.note,
        codes_N=_spread_codes(codes, start + length, windows * (length + 1)),
        table=read_names(index.npz),
    )


def _spread_texts(texts_W: list[str] | None, row_W: np.ndarray, rows: int) -> list[str] | None:
    """The targets' texts at the targets' rows; rows that are nobody's target have an empty text."""
    if texts_W is None:
        return None
    spread = [""] * rows
    for row, text in zip(row_W.tolist(), texts_W, strict=True):
        spread[row] = text
    return spread


def _spread_codes(codes: Coded, row_W: np.ndarray, rows: int) -> np.ndarray | None:
    """As texts are spread."""
    if codes.codes_N is None:
        return None
    spread_N = np.full(rows, MISSING, dtype=np.uint16)
    spread_N[row_W] = codes.codes_N
    return spread_N


def _fits_nothing(index: SequenceIndex) -> UserError:
    return UserError(
        f"{index.npz.path}: its target_indices fit nothing: as places in documents, as rows of one bank and as growing "
        "numbers they contradict the vectors; name the bank that they mean with data.bank_path, or save the file "
        "without them."
    )


def _given(value: T | None) -> T:
    assert value is not None, "windows that follow each other by their digests agree"
    return value
