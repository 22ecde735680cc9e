"""A learned mixture of the context through a learned matrix, which begins as a copy of the last vector.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, T taps,
N blocks of P places that read R = P + T - 1 vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
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


class AdaptiveMetric(Metric):
    """The metric with weights of its own at each place: w + M hidden, with M = 0 at first, hence the metric itself.

    M is decayed, towards the weights that all places share.

    width: H of the states that move the weights.
    """

    def __init__(self, dim: int, taps: int, width: int) -> None:
        super().__init__(dim, taps)
        self.adapt = nn.Linear(width, taps, bias=False)
        nn.init.zeros_(self.adapt.weight)

    def mix(self, context_BLD: Tensor, hidden_BLH: Tensor) -> Tensor:
        """The weighted sum after every position, B x L x D."""
        return banded_sum(self._weights(hidden_BLH), context_BLD)

    def mix_last(self, context_BLD: Tensor, hidden_BH: Tensor) -> Tensor:
        """The weighted sum after the last position alone, B x D; no vector before the last T is read."""
        taps = min(len(self.weight_T), context_BLD.shape[1])
        weight_B1T = self._weights(hidden_BH)[:, None, :taps].flip(2)
        return (weight_B1T @ context_BLD[:, -taps:])[:, 0]

    def _weights(self, hidden_BH: Tensor) -> Tensor:
        weight_BT: Tensor = self.weight_T + self.adapt(hidden_BH)
        return weight_BT


def banded_sum(weight_BLT: Tensor, x_BLD: Tensor) -> Tensor:
    """y_t = sum over k of w_tk x_(t-k), vectors before the first counting as zeros: B x L x D.

    Places are taken in blocks of P = min(T, L), so that nothing of size L x L is held: a block's weights are a matrix
    of P rows and P + T - 1 columns, each row one column further right than the row above.
    """
    length, taps = weight_BLT.shape[1:]
    block = min(taps, length)
    fill = -length % block
    reach = block + taps - 1
    # Rows of reach + 1 numbers, read as rows of reach, move each row one column to the right.
    rows_BNPT = F.pad(weight_BLT.flip(2), (0, 0, 0, fill)).unflatten(1, (-1, block))
    band_BNPR = F.pad(rows_BNPT, (0, block)).flatten(2)[..., :-block].unflatten(2, (block, reach))
    read_BNRD = F.pad(x_BLD, (0, 0, taps - 1, fill)).unfold(1, reach, block).mT
    return (band_BNPR @ read_BNRD).flatten(1, 2)[:, :length]
