"""What every backbone shares: the input projection, a gated feed-forward layer and the checks of sizes.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim (any leading shape for the feed-forward layer).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError


class InputProjection(nn.Module):
    """Vectors of any scale (unit length: entries of order D^-1/2) to hidden vectors of order 1: Linear, LayerNorm.

    The bias starts at zero: the default one is as large as the projection of a unit vector and would drown it.
    `forward(x_BLD) -> hidden_BLH` raises UserError when D is not the dim it was built for.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.linear = nn.Linear(dim, width)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        check_context(x_BLD, self.dim)
        hidden_BLH: Tensor = self.norm(self.linear(x_BLD))
        return hidden_BLH


class GatedMLP(nn.Module):
    """SwiGLU feed-forward layer, `forward(x_H) -> y_H` over any leading shape (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x_H: Tensor) -> Tensor:
        gate, value = self.up(x_H).chunk(2, dim=-1)
        y_H: Tensor = self.down(F.silu(gate) * value)
        return y_H


def check_context(x_BLD: Tensor, dim: int) -> None:
    """UserError unless the context is B x L x dim."""
    if x_BLD.ndim != 3 or x_BLD.shape[-1] != dim:
        raise UserError(
            f"This model reads contexts of shape (batch, length, {dim}) and got {tuple(x_BLD.shape)}; "
            "use data of that dim or train a model for this one."
        )


def check_sizes(arch: str, *, dropout: float = 0.0, **sizes: int) -> None:
    """UserError unless every named size is 1 or more and dropout lies in [0, 1)."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{arch}: {name} is {size}; set it to 1 or more.")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"{arch}: dropout is {dropout}; set it to 0 or more and below 1.")


def check_divides(arch: str, part: str, part_size: int, whole: str, whole_size: int) -> None:
    """UserError unless `part_size` divides `whole_size`."""
    if whole_size % part_size:
        raise UserError(
            f"{arch}: {part} = {part_size} does not divide {whole} = {whole_size}; choose sizes where it does."
        )
