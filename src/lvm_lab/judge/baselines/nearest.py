"""The nearest neighbour in the training part: what followed there will follow here.

Shape suffixes: B batch, L context length, D vector dim, N training windows, U different last vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import faiss
import numpy as np
import torch
from torch import Tensor

from lvm_lab.data.index import StoreIndex, open_index
from lvm_lab.data.sketch import row_digests
from lvm_lab.data.windows import Windows
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines._fitting import SLICE, training_sample
from lvm_lab.judge.cosines import normalise
from lvm_lab.types import Prediction

# Vectors whose neighbour is remembered, at most about.
KNOWN = 200_000


class NearestNeighbour(Baseline):
    """The vector that came next where the last vector has the highest cosine with this context's last.

    Looked up exactly by FAISS among at most 20,000 training windows, of which the index holds the last vectors
    alone; what came next is read from the store's memory map. The whole context as a key found no better neighbours
    (unseen MRR .145 against .150 on the PEPs, .843 each on the planted world) and took L times as long.
    index: the folder of an index over the training data's store (`lvm-lab index`): every training window is then looked
    among, as exactly as the index looks. Raises UserError where there is no training window, or the index is another
    store's.
    """

    name = "nearest"
    costly = True

    def __init__(self, train: Windows, seed: int = 0, index: StoreIndex | None = None) -> None:
        self.train = train if index is not None else training_sample(train, "nearest neighbour", seed)
        self.index = _Sample(self.train) if index is None else _Indexed(self.train, index)
        self.known: dict[int, int] = {}

    @classmethod
    def fit(cls, data: FitData, seed: int = 0, index: str | None = None) -> Self:
        if index is None:
            return cls(data.train, seed)
        content = data.content.get("store", "")
        return cls(data.train, seed, open_index(Path(index), data.train.vectors_ND, content))

    def __call__(self, context_BLD: Tensor) -> Prediction:
        row_B = self._find(context_BLD[:, -1].float().cpu().numpy())
        return Prediction.from_raw(torch.from_numpy(self.train.vectors(row_B)).to(context_BLD))

    def _find(self, last_BD: np.ndarray) -> np.ndarray:
        """The rows that came next, each vector looked up once: ablations and rollouts bring the same few chunks
        over and over."""
        if len(self.known) > KNOWN:
            self.known.clear()
        digests_B = row_digests(last_BD)
        digest_U, place_U = np.unique(digests_B, return_index=True)
        new_U = np.array([digest not in self.known for digest in digest_U.tolist()], dtype=bool)
        if new_U.any():
            next_U = self.index.next_rows(last_BD[place_U[new_U]])
            self.known.update(zip(digest_U[new_U].tolist(), next_U.tolist(), strict=True))
        return np.array([self.known[digest] for digest in digests_B.tolist()], dtype=np.int64)


class _Sample:
    """An exact search among the windows of a sample."""

    def __init__(self, train: Windows) -> None:
        self.train = train
        self.index = faiss.IndexFlatIP(train.dim)
        for start in range(0, len(train), SLICE):
            rows_N = train.rows(0)[start : start + SLICE]
            self.index.add(_keys(train.vectors(rows_N)))

    def next_rows(self, last_BD: np.ndarray) -> np.ndarray:
        _, nearest_B1 = self.index.search(_keys(last_BD), 1)
        rows_B: np.ndarray = self.train.target_row_W[nearest_B1[:, 0]]
        return rows_B


class _Indexed:
    """A search among all windows by the index of their store."""

    def __init__(self, train: Windows, index: StoreIndex) -> None:
        self.index, self.last_N = index, np.unique(train.rows(0))

    def next_rows(self, last_BD: np.ndarray) -> np.ndarray:
        _, nearest_B1 = self.index.search(last_BD, 1, among=self.last_N)
        return nearest_B1[:, 0] + 1


def _keys(last_BD: np.ndarray) -> np.ndarray:
    return normalise(last_BD).astype(np.float32)
