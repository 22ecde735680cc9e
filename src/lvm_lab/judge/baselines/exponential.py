"""The exponentially weighted context: the later a vector, the more it counts.

Shape suffixes: B batch, L context length, D vector dim, K decays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lvm_lab.data.windows import Windows
from lvm_lab.files import write_arrays
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines._fitting import SLICE, load_arrays, training_sample
from lvm_lab.types import Prediction

# 0 is copy-last, 1 the mean of the context.
DECAYS = tuple(round(0.02 * step, 2) for step in range(51))


@dataclass(frozen=True)
class ExponentialContext(Baseline):
    """The context's mean with weights decay^(L-1) ... decay, 1 over their sum, oldest first."""

    name = "exponential"
    trivial = True
    fit_version = 1

    decay: float

    @classmethod
    def fit(cls, data: FitData, seed: int = 0, decays: Sequence[float] = DECAYS) -> Self:
        return cls(best_decay(data.train, seed, decays))

    def weights(self, length: int) -> Tensor:
        """One weight for each of so many vectors, oldest first, with the sum 1."""
        weight_L = self.decay ** torch.arange(length - 1, -1, -1, dtype=torch.float64)
        return weight_L / weight_L.sum()

    def __call__(self, context_BLD: Tensor) -> Prediction:
        weight_L = self.weights(context_BLD.shape[1]).to(context_BLD)
        return Prediction.from_raw(weight_L @ context_BLD)

    def save(self, path: Path) -> None:
        write_arrays(path, decay=np.array(self.decay))

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(float(load_arrays(path, "exponentially weighted context", "decay")["decay"]))


def best_decay(train: Windows, seed: int = 0, decays: Sequence[float] = DECAYS) -> float:
    """The decay with the best mean cosine to the target on at most 20,000 TRAINING windows; val is not looked at.

    By the cosine, which has nothing to set; what ranks best among weighted contexts is for the linear metric to
    learn, whose mixture holds them all. Raises UserError where there is no training window.
    """
    train = training_sample(train, "exponentially weighted context", seed)
    total_K = np.zeros(len(decays))
    for _, part in train.slices(SLICE):
        weight_KL = torch.stack([ExponentialContext(decay).weights(part.context_length) for decay in decays]).numpy()
        total_K += _cosines(part.context(), part.vectors(part.target_row_W), weight_KL).sum(axis=0)
    return decays[int(total_K.argmax())]


def _cosines(context_BLD: np.ndarray, target_BD: np.ndarray, weight_KL: np.ndarray) -> np.ndarray:
    """cos(weighted context, target) for each window and decay, from inner products that all decays share."""
    inner_BLL = np.matmul(context_BLD, context_BLD.swapaxes(1, 2)).astype(np.float64)
    with_target_BL = np.einsum("bld,bd->bl", context_BLD, target_BD).astype(np.float64)
    square_BK = np.einsum("kl,blm,km->bk", weight_KL, inner_BLL, weight_KL, optimize=True)
    length_BK = np.sqrt(np.maximum(square_BK, 0)) * np.linalg.norm(target_BD, axis=1)[:, None]
    return np.divide(with_target_BL @ weight_KL.T, length_BK, out=np.zeros_like(length_BK), where=length_BK > 0)
