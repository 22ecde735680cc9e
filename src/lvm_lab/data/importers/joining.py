"""A sequence file joined to the article bank that it was cut from: `target_indices` are settled by comparing vectors.

Shape suffixes: W windows of the file, N rows of the bank.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lvm_lab.data.importers.article_bank import BankIndex, Material, index_bank, read_bank
from lvm_lab.data.importers.npz_file import NpzFile
from lvm_lab.data.importers.sequences import SequenceIndex
from lvm_lab.errors import UserError

# Float16 keeps 11 bits: a vector stored in both precisions differs by half of this.
HALF_TOLERANCE = 1e-3


def join_bank(index: SequenceIndex, bank: NpzFile, source: str) -> Material:
    """The bank's documents that the sequence file draws on.

    `target_indices` means the chunk's index, its place in the article counted from 0, or the
    bank's global row: whichever makes every target equal to the bank's vector.
    """
    path = index.npz.path
    if index.target_W is None:
        raise UserError(
            f"{path} has no target_indices, without which it cannot be joined to {bank.path}; import the bank "
            "itself as the data."
        )
    bank_index = index_bank(bank)
    if bank.headers[bank_index.key].shape[1] != index.shape[2]:
        raise UserError(
            f"{bank.path} has vectors of {bank.headers[bank_index.key].shape[1]} dimensions and {path} of "
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
        share = _share_equal(index, material.vectors_ND, place_W)
        if share == 1:
            note = "; ".join(filter(None, (f"target_indices are {meaning}", material.note)))
            return replace(material, note=note)
        shares.append(f"{100 * share:.1f}% as {meaning}")
    raise UserError(
        f"{path}: its targets are not the vectors that its target_indices name in {bank.path} (equal: "
        f"{', '.join(shares)}); give the bank that the sequences were cut from, or leave data.bank_path out."
    )


def _readings(index: SequenceIndex, bank: BankIndex) -> list[tuple[str, np.ndarray]]:
    """For each meaning of target_indices, the sorted bank row of each window's target, or -1."""
    target_W = index.target_W
    assert target_W is not None
    readings = []
    if index.articles is not None:
        article_W = index.articles.as_numbered_by(bank.articles)
        ids, start = np.unique(bank.article_N, return_index=True)
        place_N = np.arange(len(bank)) - start[np.searchsorted(ids, bank.article_N)]
        readings = [
            ("the chunk's index in its article", _look_up(bank.article_N, bank.chunk_N, article_W, target_W)),
            ("the chunk's place in its article", _look_up(bank.article_N, place_N, article_W, target_W)),
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


def _share_equal(index: SequenceIndex, vectors_ND: np.ndarray, place_W: np.ndarray) -> float:
    equal = 0
    for first, block in index.targets():
        places = place_W[first : first + len(block)]
        mine = block[places >= 0].astype(np.float32)
        theirs = vectors_ND[places[places >= 0]].astype(np.float32)
        tolerance = HALF_TOLERANCE * np.abs(theirs).max(axis=1, initial=0)
        equal += int(np.count_nonzero(np.abs(mine - theirs).max(axis=1, initial=0) <= tolerance))
    return equal / len(place_W)
