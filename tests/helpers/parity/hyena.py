"""The Hyena operator against its definition as sums, and the step against the convolutions.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, M projected channels.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.parity._common import Row, against, rows, step
from lvm_lab.archs.hyena import Hyena, HyenaOperator

WIDTH = 12


def definition(operator: HyenaOperator, u_BLH: Tensor) -> Tensor:
    """y_BLH by arXiv:2302.10866, definition 3.1, each filter value asked for by itself."""
    length = u_BLH.shape[1]
    taps_M1W = operator.short_WM.T.flip(1)[:, None]
    projected_BML = F.pad(operator.project(u_BLH).transpose(1, 2), (taps_M1W.shape[-1] - 1, 0))
    short_BLM = F.conv1d(projected_BML, taps_M1W, groups=len(taps_M1W)).transpose(1, 2)
    z_BLH, *gates = short_BLM.split(WIDTH, dim=-1)
    for n, gate_BLH in enumerate(gates):
        filter_LH = torch.cat([operator.filters(torch.tensor([lag]))[n] for lag in range(length)])
        out = []
        for t in range(length):
            read_BH = (filter_LH[: t + 1].flip(0) * z_BLH[:, : t + 1]).sum(1)
            out.append(gate_BLH[:, t] * (read_BH + operator.bias_NH[n] * z_BLH[:, t]))
        z_BLH = torch.stack(out, dim=1)
    return operator.out(z_BLH)


def operator(order: int) -> HyenaOperator:
    return Hyena(24, 64, width=WIDTH, order=order, filter_width=16).layers[0].operator  # type: ignore[return-value]


def comparisons() -> list[Row]:
    gaps = {f"definition as sums, order {n}": against(partial(operator, n), definition, WIDTH) for n in (1, 2)}
    return rows("hyena", gaps | {"step": step(lambda: Hyena(24, 5, width=16, filter_width=16), 24)})
