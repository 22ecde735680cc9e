"""S4D against its sequential scan in complex numbers, and its step against the convolution.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, N complex states.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from helpers.parity._common import Row, against, largest, rows, step
from lvm_lab.archs.s4 import S4, S4D
from lvm_lab.nn.convolution import causal_convolution


def sequential_scan(ssm: S4D, u_BLH: Tensor) -> Tensor:
    """y_BLH of s = exp(dt A) s + (exp(dt A) - 1) / A u, y = 2 Re(C s) + D u, place by place in complex128."""
    dt_H1 = ssm.log_dt.double().exp()[:, None]
    a_HN = torch.complex(-ssm.A_log.double().exp(), ssm.A_imag.double())
    c_HN = torch.view_as_complex(ssm.C.detach().double())
    keep_HN = (dt_H1 * a_HN).exp()
    input_HN = (keep_HN - 1) / a_HN
    u_BLH = u_BLH.double()
    state_BHN = torch.zeros(len(u_BLH), *a_HN.shape, dtype=torch.complex128)
    out = []
    for t in range(u_BLH.shape[1]):
        state_BHN = keep_HN * state_BHN + input_HN * u_BLH[:, t, :, None]
        out.append(2 * (c_HN * state_BHN).sum(-1).real + ssm.D.double() * u_BLH[:, t])
    return torch.stack(out, dim=1)


def convolution_against_the_sum(length: int, dtype: torch.dtype) -> float:
    x_BLH, kernel_LH = torch.randn(2, length, 6, dtype=dtype), torch.randn(length, 6, dtype=dtype) * length**-0.5
    want = torch.stack([(x_BLH[:, : t + 1] * kernel_LH[: t + 1].flip(0)).sum(1) for t in range(length)], dim=1)
    return largest(causal_convolution(x_BLH, kernel_LH), want)


def comparisons() -> list[Row]:
    gaps = {
        f"sequential scan, {init}": against(partial(S4D, 16, 8, init), sequential_scan, 16) for init in ("legs", "lin")
    }
    gaps["convolution summed"] = convolution_against_the_sum
    gaps["step"] = step(lambda: S4(24, 5, width=16, state=8), 24)
    return rows("s4", gaps)
