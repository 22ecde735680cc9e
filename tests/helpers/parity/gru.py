"""gru against its gate equations, one place after the other through the residual stack, shallow and deep.

Shape suffixes: B batch, L length, H hidden dim, G = 3 H gates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row
from helpers.parity.lstm import sigmoid, stack_rows
from lvm_lab.archs.gru import GRU


def gates(cell: Any, x_BLH: Tensor) -> Tensor:
    """Reset, update and candidate: h = (1 - z) n + z h with n = tanh(W x + b + r (U h + c)), torch's placing of r."""
    hidden_BH = torch.zeros_like(x_BLH[:, 0])
    places = []
    for x_BH in x_BLH.unbind(1):
        new_BG = x_BH @ cell.weight_ih_l0.T + cell.bias_ih_l0
        old_BG = hidden_BH @ cell.weight_hh_l0.T + cell.bias_hh_l0
        (reset_BH, update_BH, new_BH), (reset_old_BH, update_old_BH, old_BH) = new_BG.chunk(3, -1), old_BG.chunk(3, -1)
        keep_BH = sigmoid(update_BH + update_old_BH)
        candidate_BH = torch.tanh(new_BH + sigmoid(reset_BH + reset_old_BH) * old_BH)
        hidden_BH = (1 - keep_BH) * candidate_BH + keep_BH * hidden_BH
        places.append(hidden_BH)
    return torch.stack(places, dim=1)


def comparisons() -> list[Row]:
    return stack_rows("gru", GRU, gates)
