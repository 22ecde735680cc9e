"""The Hyena operator against its definition as sums, and the step against the convolutions.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, M projected channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lvm_lab.archs.hyena import Hyena, HyenaOperator

LENGTHS = (5, 256)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
WIDTH = 12


def largest(got: Tensor, want: Tensor) -> float:
    return (got.double() - want.double()).abs().max().item()


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
    torch.manual_seed(0)
    return Hyena(24, 64, width=WIDTH, order=order, filter_width=16).layers[0].operator  # type: ignore[return-value]


@torch.no_grad()
def against_the_definition(order: int, length: int, dtype: torch.dtype) -> float:
    got, want = operator(order).to(dtype), operator(order).double()
    u_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    return largest(got(u_BLH), definition(want, u_BLH.double()))


@torch.no_grad()
def step_against_forward(length: int, dtype: torch.dtype) -> float:
    torch.manual_seed(0)
    backbone = Hyena(24, 5, width=16, filter_width=16).to(dtype)
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
            for order in (1, 2):
                difference = against_the_definition(order, length, dtype)
                rows.append(("hyena", f"definition as sums, order {order}", length, name, difference))
            rows.append(("hyena", "step", length, name, step_against_forward(length, dtype)))
    return rows
