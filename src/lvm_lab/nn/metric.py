"""A learned mixture of the context through a learned matrix, which begins as a copy of the last vector.

Shape suffixes: B batch, L context length, D vector dim, T taps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Metric(nn.Module):
    """`forward(x_BLD) -> y_BLD`: y_t = (I + A) sum over k of w_k x_(t-k), with w = (1, 0, 0, ...) and A = 0 at first.

    The weights are free and no softmax: a copy of the last vector is then an exact beginning, and a vector further
    back may count against the prediction. Only A is decayed, hence towards the copy. Vectors before the first count
    as zeros.

    dim: D; taps: how many vectors are mixed, T.
    """

    def __init__(self, dim: int, taps: int) -> None:
        super().__init__()
        self.weight_T = nn.Parameter(torch.eye(1, taps)[0])
        self.change = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.change.weight)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.transform(self.filter(x_BLD))

    def filter(self, x_BLD: Tensor) -> Tensor:
        """The weighted sum after every position: a causal filter of `taps` weights."""
        place_L = torch.arange(x_BLD.shape[1], device=x_BLD.device)
        lag_LL = place_L[:, None] - place_L
        in_reach_LL = (lag_LL >= 0) & (lag_LL < len(self.weight_T))
        weight_LL = self.weight_T[lag_LL.clamp(0, len(self.weight_T) - 1)] * in_reach_LL
        return weight_LL @ x_BLD

    def transform(self, x_BD: Tensor) -> Tensor:
        """(I + A) x; any leading shape."""
        y_BD: Tensor = x_BD + self.change(x_BD)
        return y_BD
