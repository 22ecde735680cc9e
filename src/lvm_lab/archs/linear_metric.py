"""The linear metric: what a sequence model has to beat before it may claim to have learned any sequence.

Shape suffixes: B batch, L context length, D vector dim, T taps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvm_lab.nn.blocks import check_context, check_sizes
from lvm_lab.nn.metric import Metric


class LinearMetric(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLD`: a learned mixture of the context through a D x D matrix.

    With `head=identity`, which predicts the state itself, the whole model begins as copy-last and stays linear: one
    weight for each place and one similarity for all. Any loss trains it.

    Short contexts: places are counted back from the last vector; the weights of those that are missing go unused.

    dim: D; context_length: T vectors are mixed. Raises UserError for sizes below 1.
    """

    causal: bool = True

    def __init__(self, dim: int, context_length: int) -> None:
        check_sizes("linear_metric", dim=dim, context_length=context_length)
        super().__init__()
        self.width = dim
        self.metric = Metric(dim, context_length)

    def forward(self, x_BLD: Tensor) -> Tensor:
        check_context(x_BLD, self.width)
        hidden_BLD: Tensor = self.metric(x_BLD)
        return hidden_BLD

    def step(self, x_BD: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last T - 1 vectors are the state."""
        weight_T = self.metric.weight_T
        if state is None:
            state = x_BD.new_zeros(len(x_BD), len(weight_T) - 1, x_BD.shape[-1])
        window_BTD = torch.cat([state, x_BD[:, None]], dim=1)
        return self.metric.transform(weight_T.flip(0) @ window_BTD), window_BTD[:, 1:]
