"""What backbones share: the input projection, residual layers and their stack, and the checks of sizes.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim (any leading shape where it stands alone).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.streaming import step_layers

# Far beyond any machine that is lent to one model: a zero too many, told before it fills the memory.
MOST = dict.fromkeys(("layers", "levels"), 1_024)
MOST |= dict.fromkeys(("width", "hidden", "state", "heads", "features", "rank", "chunk"), 65_536)
MOST |= dict.fromkeys(("head_dim", "filter_width", "gate_width", "expand", "conv", "groups", "value_mult"), 65_536)

Norm = type[nn.LayerNorm] | type[nn.RMSNorm]


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


class ResidualLayer(nn.Module):
    """x + dropout(mixer(norm(x))), then x + dropout(mlp(norm(x))), with any mixer of `forward(x_BLH)` and `step`.

    The mixer and its norm are found under `name` and `norm_<name>` in the state dict.
    """

    def __init__(
        self, name: str, mixer: nn.Module, width: int, inner: int, dropout: float, norm: Norm = nn.LayerNorm
    ) -> None:
        super().__init__()
        self.name = name
        self.add_module(f"norm_{name}", norm(width))
        self.add_module(name, mixer)
        self.norm_mlp = norm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        norm, mixer = self._parts()
        return residual_mlp(self, hidden_BLH, mixer(norm(hidden_BLH)))

    def step(self, hidden_BH: Tensor, state: Any | None) -> tuple[Tensor, Any]:
        norm, mixer = self._parts()
        out_BH, state = mixer.step(norm(hidden_BH), state)
        return residual_mlp(self, hidden_BH, out_BH), state

    def _parts(self) -> tuple[Any, Any]:
        return getattr(self, f"norm_{self.name}"), getattr(self, self.name)


def residual_mlp(layer: Any, hidden_H: Tensor, out_H: Tensor) -> Tensor:
    """x + dropout(out), then x + dropout(mlp(norm(x))), with the layer's own `norm_mlp`, `mlp` and `dropout`."""
    hidden_H = hidden_H + layer.dropout(out_H)
    hidden_H = hidden_H + layer.dropout(layer.mlp(layer.norm_mlp(hidden_H)))
    return hidden_H


class ResidualStack(nn.Module):
    """Causal backbone of an input projection, layers of `forward(hidden_BLH)` and `step(hidden_BH, state)`, and a norm.

    layers: an iterator makes them after the input projection, and draws their weights in that order.
    """

    causal: bool = True

    def __init__(self, dim: int, width: int, layers: Iterable[nn.Module], norm: Norm = nn.LayerNorm) -> None:
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.layers = nn.ModuleList(layers)
        self.norm_out = norm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """hidden_BH of the next place and each layer's state after it; None begins."""
        hidden_BH, state = step_layers(self.layers, self.input(x_BD[:, None])[:, 0], state)
        hidden_BH = self.norm_out(hidden_BH)
        return hidden_BH, state


def check_context(x_BLD: Tensor, dim: int) -> None:
    """UserError unless the context is B x L x dim."""
    if x_BLD.ndim != 3 or x_BLD.shape[-1] != dim:
        raise UserError(
            f"This model reads contexts of shape (batch, length, {dim}) and got {tuple(x_BLD.shape)}; "
            "use data of that dim or train a model for this one."
        )


def check_sizes(arch: str, *, dropout: float = 0.0, **sizes: int) -> None:
    """UserError unless every named size is 1 or more, within MOST where that has a bound, and dropout in [0, 1)."""
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"{arch}: {name} is {size}; set it to 1 or more.")
        if size > MOST.get(name, size):
            raise UserError(f"{arch}: {name} is {size}; set it to {MOST[name]} or less.")
    if not 0.0 <= dropout < 1.0:
        raise UserError(f"{arch}: dropout is {dropout}; set it to 0 or more and below 1.")


def check_divides(arch: str, part: str, part_size: int, whole: str, whole_size: int) -> None:
    """UserError unless `part_size` divides `whole_size`."""
    if whole_size % part_size:
        raise UserError(
            f"{arch}: {part} = {part_size} does not divide {whole} = {whole_size}; choose sizes where it does."
        )
