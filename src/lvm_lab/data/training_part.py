"""What the training part is cut from: the order in which its windows are taken, and its vectors' directions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvm_lab.data.joined import JoinedStore
from lvm_lab.data.split import position
from lvm_lab.data.stats import training_stats
from lvm_lab.data.store import Store
from lvm_lab.data.windows import Windows
from lvm_lab.types import Stats


@dataclass(frozen=True)
class TrainingPart:
    """stretches: rows of the store's documents table that the part has. cache: where its statistics are kept."""

    store: Store
    stretches: np.ndarray
    cache: Path

    def first(self, windows: Windows, at_most: int) -> np.ndarray:
        """See `first_by_hash`."""
        return first_by_hash(windows, at_most, self.store)

    def weights(self, windows: Windows) -> np.ndarray | None:
        """How often training draws each of some windows; None: all once."""
        weight_D = self.store.weight_D if isinstance(self.store, JoinedStore) else None
        return None if weight_D is None else weight_D[windows.document_W]

    def whitening(self) -> Stats:
        """The statistics with centre, scale and basis of `normaliser=whiten`: directions as columns, the one along
        which the vectors vary most last."""
        return training_stats(self.store, self.stretches, self.cache, "whiten")


def first_by_hash(windows: Windows, at_most: int, store: Store) -> np.ndarray:
    """Positions of as many windows as asked for, ascending: those of whole documents, but for the last, in the order of
    the documents' hashes, so that fewer are a part of more."""
    order = np.argsort(_places(windows, store), kind="stable")
    first: np.ndarray = np.sort(order[:at_most])
    return first


def of_first_documents(windows: Windows, at_most: int, store: Store) -> np.ndarray:
    """Positions of the windows of so many documents, ascending, in the same order."""
    place_W = _places(windows, store)
    last = np.unique(place_W)[:at_most][-1]
    first: np.ndarray = np.flatnonzero(place_W <= last)
    return first


def _places(windows: Windows, store: Store) -> np.ndarray:
    """The place of each window's document in the order of hashes."""
    places = dict(zip(store.documents.numbers().tolist(), map(position, store.documents.names()), strict=True))
    return np.array([places[number] for number in windows.document_W.tolist()])
