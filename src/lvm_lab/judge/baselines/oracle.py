"""The oracle: the best predictor there can be on data whose rule is known.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.types import Prediction, Predictor


@dataclass(frozen=True)
class Oracle(Baseline):
    """A data source's own predictor, which knows the rule that made the documents; the context alone is shown to it."""

    name = "oracle"

    predictor: Predictor

    @classmethod
    def available(cls, data: FitData) -> bool:
        return data.oracle is not None

    @classmethod
    def fit(cls, data: FitData) -> Self:
        assert data.oracle is not None
        return cls(data.oracle(data.device))

    def __call__(self, context_BLD: Tensor) -> Prediction:
        return self.predictor(context_BLD)
