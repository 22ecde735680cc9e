"""lstm against its gate equations, one place after the other through the residual stack, shallow and deep.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, G = 4 H gates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row, against, embed, layer_norm, rows, step
from lvm_lab.archs.lstm import LSTM

DIM, WIDTH = 12, 16


def gates(cell: Any, x_BLH: Tensor) -> Tensor:
    """Input, forget, candidate and output gate: c = f c + i g, h = o tanh(c) (with Gers et al.'s forget gate)."""
    hidden_BH = memory_BH = torch.zeros_like(x_BLH[:, 0])
    places = []
    for x_BH in x_BLH.unbind(1):
        sum_BG = x_BH @ cell.weight_ih_l0.T + cell.bias_ih_l0 + hidden_BH @ cell.weight_hh_l0.T + cell.bias_hh_l0
        input_BH, forget_BH, candidate_BH, output_BH = sum_BG.chunk(4, dim=-1)
        memory_BH = memory_BH * sigmoid(forget_BH) + sigmoid(input_BH) * candidate_BH.tanh()
        hidden_BH = sigmoid(output_BH) * memory_BH.tanh()
        places.append(hidden_BH)
    return torch.stack(places, dim=1)


def sigmoid(x_BH: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x_BH))


def stack_rows(arch: str, cls: type, cell: Callable[[Any, Tensor], Tensor]) -> list[Row]:
    """Rows of residual stacks of 2, 4 and 6 layers, each x + cell(norm(x))."""

    def definition(stack: Any, x_BLD: Tensor) -> Tensor:
        hidden_BLH = embed(x_BLD, stack.input)
        for norm, weights in zip(stack.norms, stack.cells, strict=True):
            hidden_BLH = hidden_BLH + cell(weights, layer_norm(hidden_BLH, norm))
        return layer_norm(hidden_BLH, stack.norm_out)

    gaps = {}
    for layers in (2, 4, 6):

        def build(layers: int = layers) -> Any:
            return cls(DIM, 5, width=WIDTH, layers=layers)

        gaps[f"gate equations, {layers} layers"] = against(build, definition, DIM)
        gaps[f"step, {layers} layers"] = step(build, DIM)
    return rows(arch, gaps)


def comparisons() -> list[Row]:
    return stack_rows("lstm", LSTM, gates)
