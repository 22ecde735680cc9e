"""Ids of documents as a file has them, integers or texts, as numbers to compute with and names to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvm_lab.data.importers.npz_file import NpzFile
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Ids:
    """number_N: a number for each row's document; integers are their own numbers, texts are counted through in the
    order in which they first come. texts: the ids by number, None where they are integers."""

    number_N: np.ndarray
    texts: list[str] | None = None

    def names(self, numbers: np.ndarray) -> list[str]:
        """What the documents of these numbers are called."""
        return [str(n) if self.texts is None else self.texts[n] for n in numbers.tolist()]

    def taken(self, rows_N: np.ndarray) -> Ids:
        """Those of some rows: a mask or an order."""
        return Ids(self.number_N[rows_N], self.texts)

    def as_numbered_by(self, other: Ids) -> np.ndarray:
        """The numbers that another file has for the same names, -1 for names that it has not."""
        if self.texts is None and other.texts is None:
            return self.number_N
        theirs = np.unique(other.number_N)
        number_of = dict(zip(other.names(theirs), theirs.tolist(), strict=True))
        mine, place_N = np.unique(self.number_N, return_inverse=True)
        return np.array([number_of.get(name, -1) for name in self.names(mine)], dtype=np.int64)[place_N]


def joined(parts: Sequence[Ids]) -> Ids:
    """The ids of several arrays, one after the other; equal names are one document."""
    if all(part.texts is None for part in parts):
        return Ids(np.concatenate([part.number_N for part in parts]))
    number_of: dict[str, int] = {}
    numbers = []
    for part in parts:
        own, first, place_N = np.unique(part.number_N, return_index=True, return_inverse=True)
        numbered = np.empty(len(own), dtype=np.int64)
        names = part.names(own)
        for place in np.argsort(first).tolist():
            numbered[place] = number_of.setdefault(names[place], len(number_of))
        numbers.append(numbered[place_N])
    return Ids(np.concatenate(numbers), list(number_of))


def read_ids(npz: NpzFile, key: str, shape: tuple[int, ...], meaning: str) -> Ids:
    """The ids of an array of non-negative integers or of texts.

    Raises UserError for another shape, pickles, numbers that are no ids, and empty texts.
    """
    if npz.headers[key].dtype.kind != "U":
        return Ids(npz.indices(key, shape, f"{meaning}, a text or an integer"))
    npz.require(key, shape, meaning)
    number_of: dict[str, int] = {}
    numbers = []
    for first, block in npz.blocks(key):
        try:
            texts, place, number = np.unique(block, return_index=True, return_inverse=True)
            names: list[str] = texts.tolist()
        except (ValueError, SystemError) as error:  # bytes that are no characters
            raise npz.unreadable(f"{key} holds what is no text: {error}") from error
        if "" in names:
            row = first + int(place[names.index("")])
            raise UserError(f"{npz.path}: {key}[{row}] is empty; give every document an id.")
        numbered = np.empty(len(names), dtype=np.int64)
        for i in np.argsort(place).tolist():
            numbered[i] = number_of.setdefault(names[i], len(number_of))
        numbers.append(numbered[number])
    return Ids(np.concatenate(numbers), list(number_of))
