"""The kernels of mamba_ssm and causal_conv1d, played in PyTorch by their documented signatures."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import conv1d, silu, softplus

from lvm_lab.nn.ssd import ssd_scan


def causal_conv1d_fn(x_BML: Tensor, weight_MW: Tensor, bias: Tensor, activation: str) -> Tensor:
    assert activation == "silu"
    channels, taps = weight_MW.shape
    out_BML = conv1d(x_BML, weight_MW[:, None], bias, padding=taps - 1, groups=channels)
    return silu(out_BML[..., : x_BML.shape[-1]])


def mamba_chunk_scan_combined(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor,
    dt_bias: Tensor,
    dt_softplus: bool,
) -> Tensor:
    assert dt_softplus
    return ssd_scan(x, softplus(dt + dt_bias), A, B, C, chunk_size) + D[:, None] * x
