"""linear_metric against its definition as a sum, with weights of every tap and a matrix away from the beginning.

Shape suffixes: B batch, L length, D vector dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row, against, rows, step
from lvm_lab.archs.linear_metric import LinearMetric

DIM = 12


def build() -> LinearMetric:
    model = LinearMetric(DIM, 5)
    # At the beginning it is a copy of the last vector, of which nearly everything is true.
    with torch.no_grad():
        model.metric.weight_T.normal_()
        model.metric.change.weight.normal_(std=DIM**-0.5)
    return model


def definition(ours: Any, x_BLD: Tensor) -> Tensor:
    """y_t = (I + A) times the sum over k < 5 of w_k x_(t-k)."""
    matrix_DD = torch.eye(DIM, dtype=x_BLD.dtype) + ours.metric.change.weight
    places = []
    for t in range(x_BLD.shape[1]):
        places.append(sum(ours.metric.weight_T[k] * x_BLD[:, t - k] for k in range(min(5, t + 1))) @ matrix_DD.T)
    return torch.stack(places, dim=1)


def comparisons() -> list[Row]:
    return rows("linear_metric", {"definition as a sum": against(build, definition, DIM), "step": step(build, DIM)})
