"""Mamba-2: the selective state space recurrence in its dual form (SSD), with a gate and a short convolution.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, I = expand * H inner dim, G groups, K heads,
P dim of a head, N state size, M = I + 2 G N channels of the convolution, W taps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.archs._blocks import InputProjection, check_divides, check_sizes
from lvm_lab.archs._ssd import ssd_scan

_EPS = 1e-5


class Mamba2(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L (Dao and Gu 2024, arXiv:2405.21060).

    `stack` has the parameter names of transformers' Mamba2Model, and each `stack.layers[i].mixer` those of
    mamba_ssm's Mamba2, so `stack.state_dict()` loads into both (into the first all but its `embeddings.weight`).
    With groups > 1 the gated norm is taken per group, as mamba_ssm does and transformers does not.

    Everything is plain PyTorch. On CUDA tensors below float64 the kernels of mamba_ssm and causal_conv1d take over
    where both packages import, with the same parameters; that path follows their documented signatures and has not
    been run here.

    dim, context_length: D and the usual L, which sets nothing here; width: H; state: N; head_dim: P; conv: W taps;
    chunk: places of a chunk, the quadratic form is used up to it. Raises UserError for sizes below 1, dropout outside
    [0, 1), head_dim that does not divide expand * width, or groups that do not divide the heads.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        state: int = 32,
        head_dim: int = 32,
        expand: int = 2,
        conv: int = 4,
        groups: int = 1,
        chunk: int = 64,
        dropout: float = 0.0,
    ) -> None:
        check_sizes("mamba2", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("mamba2", state=state, head_dim=head_dim, expand=expand, conv=conv, groups=groups, chunk=chunk)
        check_divides("mamba2", "head_dim", head_dim, "expand * width", expand * width)
        check_divides("mamba2", "groups", groups, "the number of heads", expand * width // head_dim)
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        mixers = [_Mixer(width, state, head_dim, expand, conv, groups, chunk) for _ in range(layers)]
        with torch.no_grad():
            for mixer in mixers:  # keeps the residual stream's variance independent of depth, as mamba_ssm does
                mixer.out_proj.weight /= math.sqrt(layers)
        self.stack = _Stack(width, [_Layer(width, mixer, dropout) for mixer in mixers])

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.stack(self.input(x_BLD))
        return hidden_BLH


class _Stack(nn.Module):
    """The layers and the final norm, under the names of transformers' Mamba2Model."""

    def __init__(self, width: int, layers: list[_Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm_f = _RMSNorm(width)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_f(hidden_BLH)
        return hidden_BLH


class _Layer(nn.Module):
    def __init__(self, width: int, mixer: _Mixer, dropout: float) -> None:
        super().__init__()
        self.norm = _RMSNorm(width)
        self.mixer = mixer
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        hidden_BLH = hidden_BLH + self.dropout(self.mixer(self.norm(hidden_BLH)))
        return hidden_BLH


class _Mixer(nn.Module):
    """One Mamba-2 mixer: project, convolve, scan, gate, project. A and dt of a head are scalars."""

    def __init__(self, width: int, state: int, head_dim: int, expand: int, conv: int, groups: int, chunk: int) -> None:
        super().__init__()
        inner = expand * width
        heads = inner // head_dim
        channels = inner + 2 * groups * state
        self.inner, self.heads, self.groups, self.state, self.chunk = inner, heads, groups, state, chunk
        self.in_proj = nn.Linear(width, inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, conv, groups=channels, padding=conv - 1)
        # dt starts log-uniform in [.001, .1]; its bias is stored before the softplus, hence the inverse.
        dt_K = torch.exp(torch.empty(heads).uniform_(math.log(1e-3), math.log(1e-1)))
        self.dt_bias = nn.Parameter(dt_K + torch.log(-torch.expm1(-dt_K)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = _RMSNorm(inner, groups)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        gate_BLI, x_BLM, dt_BLK = self.in_proj(hidden_BLH).split(
            (self.inner, self.conv1d.in_channels, self.heads), dim=-1
        )
        kernels = _cuda_kernels() if hidden_BLH.is_cuda and hidden_BLH.dtype != torch.float64 else None
        if kernels is None:
            y_BLI = self._scan(_causal_conv(x_BLM, self.conv1d), dt_BLK)
        else:
            y_BLI = self._scan_on_cuda(x_BLM, dt_BLK, *kernels)
        out_BLH: Tensor = self.out_proj(self.norm(y_BLI * F.silu(gate_BLI)))
        return out_BLH

    def _split(self, x_BLM: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The convolved channels as x_BLKP, b_BLGN and c_BLGN."""
        memory = self.groups * self.state
        x_BLI, b_BLM, c_BLM = torch.split_with_sizes(x_BLM, (self.inner, memory, memory), dim=-1)
        place = x_BLM.shape[:2]
        return (
            x_BLI.view(*place, self.heads, -1),
            b_BLM.view(*place, self.groups, self.state),
            c_BLM.view(*place, self.groups, self.state),
        )

    def _decay(self) -> Tensor:
        """a_K, negative, in float32 at least: in half precision exp(A_log) loses the slow heads."""
        return -torch.exp(self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)))

    def _scan(self, x_BLM: Tensor, dt_BLK: Tensor) -> Tensor:
        x_BLKP, b_BLGN, c_BLGN = self._split(x_BLM)
        a_K = self._decay()
        dt_BLK = F.softplus((dt_BLK + self.dt_bias).to(a_K.dtype))
        y_BLKP = ssd_scan(x_BLKP, dt_BLK, a_K, b_BLGN, c_BLGN, self.chunk)
        return (y_BLKP + self.D[:, None] * x_BLKP).flatten(2)

    def _scan_on_cuda(
        self, x_BLM: Tensor, dt_BLK: Tensor, conv_kernel: Callable[..., Any], scan_kernel: Callable[..., Any]
    ) -> Tensor:
        # Contiguous: in the layout BLM the kernel demands rows of a multiple of 8, which the projection's are not.
        x_BML = conv_kernel(
            x_BLM.transpose(1, 2).contiguous(),
            self.conv1d.weight.squeeze(1),
            bias=self.conv1d.bias,
            activation="silu",
        )
        x_BLKP, b_BLGN, c_BLGN = self._split(x_BML.transpose(1, 2))
        y_BLKP: Tensor = scan_kernel(
            x_BLKP,
            dt_BLK,
            self._decay(),
            b_BLGN,
            c_BLGN,
            chunk_size=self.chunk,
            D=self.D,
            dt_bias=self.dt_bias,
            dt_softplus=True,
        )
        return y_BLKP.flatten(2)


class _RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dim, or over each of `groups` equal parts of it; float32 at least."""

    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_H: Tensor) -> Tensor:
        wide_H = x_H.to(torch.promote_types(x_H.dtype, torch.float32))
        wide_GH = wide_H.view(*x_H.shape[:-1], self.groups, -1)
        normed_H = F.rms_norm(wide_GH, wide_GH.shape[-1:], eps=_EPS).view(x_H.shape)
        return self.weight * normed_H.to(x_H.dtype)


def _causal_conv(x_BLM: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of the depthwise causal convolution, as one shifted product a tap.

    Three times faster than F.conv1d forward and backward at B = 256, L = 5 on a CPU, and it keeps the layout BLM.
    """
    length = x_BLM.shape[1]
    weight_MW, bias_M = conv.weight.squeeze(1), conv.bias
    assert bias_M is not None
    y_BLM = x_BLM * weight_MW[:, -1] + bias_M
    for lag in range(1, min(weight_MW.shape[1], length)):
        y_BLM = y_BLM + F.pad(x_BLM[:, :-lag] * weight_MW[:, -1 - lag], (0, 0, lag, 0))
    return F.silu(y_BLM)


@functools.cache
def _cuda_kernels() -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """causal_conv1d's convolution and mamba_ssm's scan, or None where either does not import."""
    try:
        conv_kernel = import_module("causal_conv1d").causal_conv1d_fn
        scan_kernel = import_module("mamba_ssm.ops.triton.ssd_combined").mamba_chunk_scan_combined
    except (ImportError, AttributeError, OSError, RuntimeError):  # the last two: built for another torch or driver
        return None
    return conv_kernel, scan_kernel
