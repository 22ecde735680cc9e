"""S4D against its sequential scan in complex numbers, and its step against the convolution.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, N complex states.
"""

import torch
from torch import Tensor

from lvm_lab.archs.s4 import S4, S4D, causal_convolution

LENGTHS = (5, 256)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def largest(got: Tensor, want: Tensor) -> float:
    return (got.double() - want.double()).abs().max().item()


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


@torch.no_grad()
def against_the_scan(init: str, length: int, dtype: torch.dtype) -> float:
    torch.manual_seed(0)
    ssm = S4D(16, 8, init).to(dtype)
    u_BLH = torch.randn(2, length, 16, dtype=dtype)
    return largest(ssm(u_BLH), sequential_scan(ssm, u_BLH))


@torch.no_grad()
def convolution_against_the_sum(length: int, dtype: torch.dtype) -> float:
    torch.manual_seed(0)
    x_BLH, kernel_LH = torch.randn(2, length, 6, dtype=dtype), torch.randn(length, 6, dtype=dtype) * length**-0.5
    want = torch.stack([(x_BLH[:, : t + 1] * kernel_LH[: t + 1].flip(0)).sum(1) for t in range(length)], dim=1)
    return largest(causal_convolution(x_BLH, kernel_LH), want)


@torch.no_grad()
def step_against_forward(length: int, dtype: torch.dtype) -> float:
    torch.manual_seed(0)
    backbone = S4(24, 5, width=16, state=8).to(dtype)
    x_BLD = torch.randn(2, length, 24, dtype=dtype)
    state, out = None, []
    for t in range(length):
        hidden_BH, state = backbone.step(x_BLD[:, t], state)
        out.append(hidden_BH)
    return largest(torch.stack(out, dim=1), backbone(x_BLD))


def comparisons() -> list[tuple[str, str, int, str, float]]:
    """Rows of (arch, reference, L, dtype, largest difference)."""
    rows = []
    for length in LENGTHS:
        for name, dtype in DTYPES.items():
            for init in ("legs", "lin"):
                rows.append(("s4", f"sequential scan, {init}", length, name, against_the_scan(init, length, dtype)))
            rows.append(("s4", "convolution summed", length, name, convolution_against_the_sum(length, dtype)))
            rows.append(("s4", "step", length, name, step_against_forward(length, dtype)))
    return rows
