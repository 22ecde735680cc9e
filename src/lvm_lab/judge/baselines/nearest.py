"""The nearest neighbour in the training part: what followed there will follow here.

Shape suffixes: B batch, L context length, D vector dim, N training windows, U different last vectors.
"""

from __future__ import annotations

from typing import Self

import faiss
import numpy as np
import torch
from torch import Tensor

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
    Raises UserError where there is no training window.
    """

    name = "nearest"
    costly = True

    def __init__(self, train: Windows, seed: int = 0) -> None:
        self.train = training_sample(train, "nearest neighbour", seed)
        self.index = faiss.IndexFlatIP(self.train.dim)
        self.known: dict[int, int] = {}
        for start in range(0, len(self.train), SLICE):
            rows_N = self.train.rows(0)[start : start + SLICE]
            self.index.add(_keys(self.train.vectors(rows_N)))

    @classmethod
    def fit(cls, data: FitData, seed: int = 0) -> Self:
        return cls(data.train, seed)

    def __call__(self, context_BLD: Tensor) -> Prediction:
        place_B = self._find(context_BLD[:, -1].float().cpu().numpy())
        next_BD = self.train.vectors(self.train.target_row_W[place_B])
        return Prediction.from_raw(torch.from_numpy(next_BD).to(context_BLD))

    def _find(self, last_BD: np.ndarray) -> np.ndarray:
        """Places in the training windows, each vector looked up once: ablations and rollouts bring the same few chunks
        over and over."""
        if len(self.known) > KNOWN:
            self.known.clear()
        digests_B = row_digests(last_BD)
        digest_U, place_U = np.unique(digests_B, return_index=True)
        new_U = np.array([digest not in self.known for digest in digest_U.tolist()], dtype=bool)
        if new_U.any():
            _, nearest_U1 = self.index.search(_keys(last_BD[place_U[new_U]]), 1)
            self.known.update(zip(digest_U[new_U].tolist(), nearest_U1[:, 0].tolist(), strict=True))
        return np.array([self.known[digest] for digest in digests_B.tolist()], dtype=np.int64)


def _keys(last_BD: np.ndarray) -> np.ndarray:
    return normalise(last_BD).astype(np.float32)
