"""The global mean: the next vector will be like any other.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lvm_lab.types import Prediction


@dataclass(frozen=True)
class GlobalMean:
    """The mean of the training part's vectors, whatever the context."""

    mean_D: Tensor

    def __call__(self, context_BLD: Tensor) -> Prediction:
        return Prediction.from_raw(self.mean_D.to(context_BLD).expand(len(context_BLD), -1))
