"""ridge against its definition as a sum over the taps.

Shape suffixes: B batch, L length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row, against, rows, step
from lvm_lab.archs.ridge import Ridge

DIM = 12


def build() -> Ridge:
    return Ridge(DIM, 5, width=16)


def definition(ours: Any, x_BLD: Tensor) -> Tensor:
    """hidden_t = sqrt(D) times the sum over k < 5 of W_k x_(t-k)."""
    places = []
    for t in range(x_BLD.shape[1]):
        maps = [ours.taps.weight[..., 4 - k] for k in range(min(5, t + 1))]
        places.append(sum(x_BLD[:, t - k] @ map_HD.T for k, map_HD in enumerate(maps)) * DIM**0.5)
    return torch.stack(places, dim=1)


def comparisons() -> list[Row]:
    return rows("ridge", {"definition as a sum": against(build, definition, DIM), "step": step(build, DIM)})
