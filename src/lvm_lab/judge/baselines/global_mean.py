"""The global mean: the next vector will be like any other.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.types import Prediction


@dataclass(frozen=True)
class GlobalMean(Baseline):
    """The mean of the training part's vectors, whatever the context."""

    name = "global_mean"
    trivial = True

    mean_D: Tensor

    @classmethod
    def fit(cls, data: FitData) -> Self:
        return cls(data.stats.mean_D)

    def __call__(self, context_BLD: Tensor) -> Prediction:
        return Prediction.from_raw(self.mean_D.to(context_BLD).expand(len(context_BLD), -1))
