"""Copy-last: the next vector will be like this one.

Shape suffixes: B batch, L context length, D vector dim.
"""

from __future__ import annotations

from torch import Tensor

from lvm_lab.judge.baseline import Baseline
from lvm_lab.types import Prediction


class CopyLast(Baseline):
    """The last context vector once more."""

    name = "copy_last"
    trivial = True

    def __call__(self, context_BLD: Tensor) -> Prediction:
        return Prediction.from_raw(context_BLD[:, -1])
