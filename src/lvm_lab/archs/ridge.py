"""A linear map of the context: the baseline that says what a sequence model adds.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, T taps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.nn.blocks import check_context, check_sizes


class Ridge(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH`: hidden_t = sum over k of W_k x_(t-k), k below context_length.

    With `head=linear` the whole model is linear, and weight decay is its ridge penalty; width below D makes it a
    regression of reduced rank. The closed form is the baseline of every closing table; this is the one that any loss
    can train. Vectors before the first count as zeros.

    Short contexts: places are counted back from the last vector; the taps of those that are missing read zeros.

    dim: D; context_length: T taps; width: H. Raises UserError for sizes below 1.
    """

    causal: bool = True

    def __init__(self, dim: int, context_length: int, *, width: int = 256) -> None:
        check_sizes("ridge", dim=dim, context_length=context_length, width=width)
        super().__init__()
        self.width = width
        # Unit vectors have entries of order D^-1/2; of order 1 they learn at the pace of every other arch.
        self.scale = math.sqrt(dim)
        self.taps = nn.Conv1d(dim, width, context_length, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        check_context(x_BLD, self.taps.in_channels)
        missing = self.taps.kernel_size[0] - 1
        hidden_BHL: Tensor = self.taps(F.pad(x_BLD.mT * self.scale, (missing, 0)))
        return hidden_BHL.mT

    def step(self, x_BD: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The last taps - 1 vectors are the state."""
        if state is None:
            state = x_BD.new_zeros(len(x_BD), self.taps.kernel_size[0] - 1, x_BD.shape[-1])
        window_BTD = torch.cat([state, x_BD[:, None]], dim=1)
        return self.taps(window_BTD.mT * self.scale)[..., 0], window_BTD[:, 1:]
