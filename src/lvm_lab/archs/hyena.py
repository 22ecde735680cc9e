"""Hyena: gates and long convolutions whose filters are functions of the lag, in place of attention.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, N order (long convolutions of a layer),
M = (N + 1) H projected channels, E features of a lag, W taps of the short convolution, T places so far.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import ResidualLayer, ResidualStack, check_sizes
from lvm_lab.nn.convolution import causal_convolution, short_convolution


class Hyena(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Work and state of `step` are linear in the places so far: a filter that is no recurrence needs all of its inputs.

    The operator (Poli et al. 2023, arXiv:2302.10866, definition 3.1): v and the gates x_1 .. x_N are linear maps of
    the input behind a short depthwise convolution; z = v, then N times z = x_n * (h_n (*) z + bias z). It takes the
    place of attention in a pre-norm layer with a gated MLP.

    A filter at lag t is the same for every length of the input: an MLP with sine activations of the features
    t / context_length and cos, sin of pi k t / context_length, times exp(-decay t / context_length) with a decay for
    each channel. context_length is the scale of the lags and no limit: beyond it t / context_length grows on, the
    waves repeat after 2 context_length and the decay fades what lies far back.

    Short contexts: only lags count, in units of context_length whatever is read; before the first vector stand zeros.

    dim, context_length: D and the scale of the lags; width: H; order: N; conv: W; filter_width, bands: hidden size
    and k of the filters' MLP; shortest, longest: the lag, in units of context_length, at which the first and the last
    channel's window is down to 1/100; ff_mult * width: inner size of the MLP; dropout: on both branches of a layer.
    Raises UserError for sizes below 1, dropout outside [0, 1) or windows that are no range above 0.
    """

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        order: int = 2,
        conv: int = 3,
        filter_width: int = 64,
        bands: int = 4,
        shortest: float = 0.5,
        longest: float = 8.0,
        ff_mult: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes("hyena", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("hyena", order=order, conv=conv, filter_width=filter_width, bands=bands)
        check_sizes("hyena", **{"ff_mult * width": inner})
        if not 0.0 < shortest <= longest:
            raise UserError(
                f"hyena: shortest = {shortest} and longest = {longest}; set them so that 0 < shortest <= longest."
            )
        every_filter = (
            ImplicitFilter(width, order, context_length, filter_width, bands, shortest, longest) for _ in range(layers)
        )
        stack = (ResidualLayer("operator", HyenaOperator(f, conv), width, inner, dropout) for f in every_filter)
        super().__init__(dim, width, stack)


class HyenaOperator(nn.Module):
    """`forward(u_BLH) -> y_BLH`: projections, short convolution, then N gated long convolutions."""

    # The short convolution's kernel; the long ones' are made by linear layers.
    decayed_parameters = ("short_WM",)

    def __init__(self, filters: ImplicitFilter, conv: int) -> None:
        super().__init__()
        width, order = filters.width, filters.order
        self.width, self.order = width, order
        self.project = nn.Linear(width, (order + 1) * width)
        self.short_WM = nn.Parameter(torch.randn(conv, (order + 1) * width) * conv**-0.5)
        self.filters = filters
        self.bias_NH = nn.Parameter(torch.randn(order, width))
        self.out = nn.Linear(width, width)

    def forward(self, u_BLH: Tensor) -> Tensor:
        z_BLH, *gates = short_convolution(self.project(u_BLH), self.short_WM).split(self.width, dim=-1)
        filters_NLH = self.filters(torch.arange(u_BLH.shape[1], device=u_BLH.device))
        for gate_BLH, filter_LH, bias_H in zip(gates, filters_NLH, self.bias_NH, strict=True):
            z_BLH = gate_BLH * (causal_convolution(z_BLH, filter_LH) + bias_H * z_BLH)
        y_BLH: Tensor = self.out(z_BLH)
        return y_BLH

    def step(self, u_BH: Tensor, state: Any | None = None) -> tuple[Tensor, Any]:
        """y_BH and the state: the projections recent_BWM that the short convolution reads, and of each long
        convolution its inputs so far, inputs_BTH."""
        x_B1M = self.project(u_BH)[:, None]
        if state is None:
            state = (x_B1M[:, :0], [x_B1M.new_zeros(len(u_BH), 0, self.width)] * self.order)
        before_BWM, inputs_before = state
        recent_BWM = torch.cat((before_BWM, x_B1M), dim=1)[:, -len(self.short_WM) :]
        short_BM = (recent_BWM.flip(1) * self.short_WM[: recent_BWM.shape[1]]).sum(1)
        z_BH, *gates = short_BM.split(self.width, dim=-1)
        # From the farthest lag to 0, as the inputs lie.
        filters_NTH = self.filters(torch.arange(inputs_before[0].shape[1], -1, -1, device=u_BH.device))
        inputs = []
        for before_BTH, gate_BH, filter_TH, bias_H in zip(inputs_before, gates, filters_NTH, self.bias_NH, strict=True):
            inputs.append(torch.cat((before_BTH, z_BH[:, None]), dim=1))
            z_BH = gate_BH * ((inputs[-1] * filter_TH).sum(1) + bias_H * z_BH)
        y_BH: Tensor = self.out(z_BH)
        return y_BH, (recent_BWM, inputs)


class ImplicitFilter(nn.Module):
    """`forward(lag_L) -> filters_NLH`, the value of every filter at the lags asked for."""

    def __init__(
        self,
        width: int,
        order: int,
        context_length: int,
        filter_width: int,
        bands: int,
        shortest: float,
        longest: float,
    ) -> None:
        super().__init__()
        self.width, self.order, self.scale, self.bands = width, order, context_length, bands
        self.first = nn.Linear(1 + 2 * bands, filter_width)
        self.second = nn.Linear(filter_width, filter_width)
        self.last = nn.Linear(filter_width, order * width, bias=False)
        # The window's decay for each channel, stored as its logarithm: it stays a decay when it is learned.
        reach_H = torch.logspace(math.log10(shortest), math.log10(longest), width)
        self.log_decay_H = nn.Parameter((math.log(100.0) / reach_H).log())

    def forward(self, lag_L: Tensor) -> Tensor:
        share_L1 = (lag_L.to(self.log_decay_H.dtype) / self.scale)[:, None]
        wave_LE = math.pi * share_L1 * torch.arange(1, self.bands + 1, device=lag_L.device)
        feature_LE = torch.cat((share_L1, wave_LE.cos(), wave_LE.sin()), dim=-1)
        value_LF = torch.sin(self.second(torch.sin(self.first(feature_LE))))
        value_LNH = self.last(value_LF).view(len(lag_L), self.order, self.width)
        window_L1H = torch.exp(-share_L1 * self.log_decay_H.exp())[:, None]
        return (value_LNH * window_L1H).transpose(0, 1)
