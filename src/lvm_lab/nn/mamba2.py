"""The parts of Mamba-2: its mixer, its residual layer that takes any mixer, its norm, and the stack of them.

Shape suffixes: B batch, L context length, H hidden dim, I = expand * H inner dim, G groups, K heads,
P dim of a head, N state size, M = I + 2 G N channels of the convolution, W taps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.nn.blocks import check_divides, check_sizes
from lvm_lab.nn.kernels import Kernels, kernels_for
from lvm_lab.nn.ssd import ssd_scan
from lvm_lab.nn.streaming import step_layers

State = tuple[Tensor, Tensor]
_EPS = 1e-5


def check_mixer(
    arch: str, *, width: int, state: int, head_dim: int, expand: int, conv: int, groups: int, chunk: int
) -> None:
    """UserError unless a mixer of these sizes can be built."""
    check_sizes(arch, width=width, state=state, head_dim=head_dim, expand=expand, conv=conv, groups=groups, chunk=chunk)
    check_divides(arch, "head_dim", head_dim, "expand * width", expand * width)
    check_divides(arch, "groups", groups, "the number of heads", expand * width // head_dim)


class Stack(nn.Module):
    """The layers and the final norm, under the names of transformers' Mamba2Model."""

    def __init__(self, width: int, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm_f = RMSNorm(width)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_f(hidden_BLH)
        return hidden_BLH

    def step(self, hidden_BH: Tensor, states: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        hidden_BH, states = step_layers(self.layers, hidden_BH, states)
        hidden_BH = self.norm_f(hidden_BH)
        return hidden_BH, states


class Layer(nn.Module):
    """x + dropout(mixer(norm(x))) with any mixer of `forward(x_BLH)` and `step(x_BH, state)`."""

    def __init__(self, width: int, mixer: Any, dropout: float) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.mixer: Any = mixer
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        hidden_BLH = hidden_BLH + self.dropout(self.mixer(self.norm(hidden_BLH)))
        return hidden_BLH

    def step(self, hidden_BH: Tensor, state: Any | None = None) -> tuple[Tensor, Any]:
        out_BH, state = self.mixer.step(self.norm(hidden_BH), state)
        hidden_BH = hidden_BH + self.dropout(out_BH)
        return hidden_BH, state


class Mixer(nn.Module):
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
        self.norm = RMSNorm(inner, groups)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        gate_BLI, x_BLM, dt_BLK = self.in_proj(hidden_BLH).split(
            (self.inner, self.conv1d.in_channels, self.heads), dim=-1
        )
        kernels = kernels_for(hidden_BLH)
        if kernels is None:
            y_BLI = self._scan(causal_conv(x_BLM, self.conv1d), dt_BLK)
        else:
            y_BLI = self._scan_fused(x_BLM, dt_BLK, kernels)
        out_BLH: Tensor = self.out_proj(self.norm(y_BLI * F.silu(gate_BLI)))
        return out_BLH

    def step(self, hidden_BH: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One more place; the state, of constant size, is the convolution's last W - 1 inputs and the scan's KPN."""
        a_K = self._decay()
        if state is None:
            before_BWM = hidden_BH.new_zeros(len(hidden_BH), self.conv1d.kernel_size[0] - 1, self.conv1d.in_channels)
            memory_BKPN = a_K.new_zeros(len(hidden_BH), self.heads, self.inner // self.heads, self.state)
        else:
            before_BWM, memory_BKPN = state
        gate_BI, x_BM, dt_BK = self.in_proj(hidden_BH).split((self.inner, self.conv1d.in_channels, self.heads), dim=-1)
        window_BWM = torch.cat((before_BWM, x_BM[:, None]), dim=1)
        x_B1KP, b_B1GN, c_B1GN = self._split(causal_conv(window_BWM, self.conv1d)[:, -1:])
        x_BKP = x_B1KP[:, 0]
        # Head k reads group k // (K / G), as in the scan.
        b_BKN, c_BKN = (v[:, 0].repeat_interleave(self.heads // self.groups, dim=1) for v in (b_B1GN, c_B1GN))

        dt_BK = F.softplus((dt_BK + self.dt_bias).to(a_K.dtype))
        update_BKPN = (dt_BK[..., None] * x_BKP)[..., None] * b_BKN[:, :, None]
        memory_BKPN = torch.exp(dt_BK * a_K)[..., None, None] * memory_BKPN + update_BKPN
        y_BKP = (memory_BKPN @ c_BKN[..., None].to(memory_BKPN.dtype)).squeeze(-1).to(x_BKP.dtype)
        y_BI = (y_BKP + self.D[:, None] * x_BKP).flatten(1)
        out_BH: Tensor = self.out_proj(self.norm(y_BI * F.silu(gate_BI)))
        return out_BH, (window_BWM[:, 1:], memory_BKPN)

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

    def _scan_fused(self, x_BLM: Tensor, dt_BLK: Tensor, kernels: Kernels) -> Tensor:
        if kernels.convolution is None:
            x_BLM = causal_conv(x_BLM, self.conv1d)
        else:
            # Contiguous: in the layout BLM the kernel demands rows of a multiple of 8, which the projection's are not.
            x_BML = x_BLM.transpose(1, 2).contiguous()
            weight_MW, bias_M = self.conv1d.weight.squeeze(1), self.conv1d.bias
            x_BLM = kernels.convolution(x_BML, weight_MW, bias=bias_M, activation="silu").transpose(1, 2)
        x_BLKP, b_BLGN, c_BLGN = self._split(x_BLM)
        y_BLKP: Tensor = kernels.scan(
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


class RMSNorm(nn.Module):
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


def causal_conv(x_BLM: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of the depthwise causal convolution, as one shifted product a tap.

    Three times faster than F.conv1d forward and backward at B = 256, L = 5 on a CPU, and it keeps the layout BLM.
    """
    length = x_BLM.shape[1]
    weight_MW, bias_M = conv.weight.squeeze(1), conv.bias
    assert bias_M is not None
    y_BLM = x_BLM * weight_MW[:, -1] + bias_M
    # A graph that is exported is of every length, also of those that its last taps do not reach.
    every = torch.compiler.is_exporting()
    for lag in range(1, weight_MW.shape[1] if every else min(weight_MW.shape[1], length)):
        early_BLM = x_BLM if every else x_BLM[:, :-lag]
        y_BLM = y_BLM + F.pad(early_BLM * weight_MW[:, -1 - lag], (0, 0, lag, 0))[:, :length]
    return F.silu(y_BLM)
