"""Mean-of-context: the next vector will be like all of these, in no order.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

from torch import Tensor

from lvm_lab.judge.baseline import Baseline
from lvm_lab.types import Prediction


class MeanOfContext(Baseline):
    """The mean of the context vectors."""

    name = "mean_of_context"
    trivial = True

    def __call__(self, context_BLD: Tensor) -> Prediction:
        return Prediction.from_raw(context_BLD.mean(dim=1))
