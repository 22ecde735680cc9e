"""RWKV-4: attention without queries, as a recurrence with a decay of its own for every channel.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, F inner dim of the channel mixing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.nn.blocks import InputProjection, check_sizes
from lvm_lab.nn.streaming import step_layers

# The sums of wkv so far: numerator and denominator, both times exp(-greatest exponent), and that exponent.
Sums = tuple[Tensor, Tensor, Tensor]


class RWKV(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L: version 4 (Peng et al. 2023, arXiv:2305.13048).

    Each block is x += time_mixing(norm(x)), x += channel_mixing(norm(x)). Both read every vector mixed, channel by
    channel, with the one before it (token shift). Time mixing is sigmoid(r_t) * wkv_t with, for each channel,
    wkv_t = (sum over j < t of exp(k_j - (t - 1 - j) w) v_j + exp(k_t + u) v_t) / (the same without the v's), w > 0.
    Channel mixing is sigmoid(r_t) * (W relu(k_t)^2).

    All but `input` has the parameter names of transformers' RwkvModel without its embeddings.

    Short contexts: no places are counted; the sums begin at the first vector that is read, before which the token shift
    has zeros.

    dim, context_length: D and the usual L, which sets nothing here; width: H; ff_mult * width: F; dropout: on both
    branches of a block. Raises UserError for sizes below 1 or dropout outside [0, 1).
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        ff_mult: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes("rwkv", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("rwkv", **{"ff_mult * width": inner})
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.blocks = nn.ModuleList(_Block(width, inner, i, layers, dropout) for i in range(layers))
        self.ln_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        for block in self.blocks:
            hidden_BLH = block(hidden_BLH)
        hidden_BLH = self.ln_out(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[_State] | None = None) -> tuple[Tensor, list[_State]]:
        """One more vector; the state of a block is five vectors of width H, whatever came before."""
        hidden_BH, state = step_layers(self.blocks, self.input(x_BD[:, None])[:, 0], state)
        hidden_BH = self.ln_out(hidden_BH)
        return hidden_BH, state


# What a block leaves: the sums, the last input of the time mixing and that of the channel mixing.
_State = tuple[Sums, Tensor, Tensor]


class _Block(nn.Module):
    def __init__(self, width: int, inner: int, layer: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.pre_ln = nn.LayerNorm(width) if layer == 0 else nn.Identity()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attention = _TimeMixing(width, layer, layers)
        self.feed_forward = _ChannelMixing(width, inner, layer, layers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        hidden_BLH = self.pre_ln(hidden_BLH)
        x_BLH = self.ln1(hidden_BLH)
        hidden_BLH = hidden_BLH + self.dropout(self.attention(x_BLH, _shift(x_BLH)))
        x_BLH = self.ln2(hidden_BLH)
        hidden_BLH = hidden_BLH + self.dropout(self.feed_forward(x_BLH, _shift(x_BLH)))
        return hidden_BLH

    def step(self, hidden_BH: Tensor, state: _State | None = None) -> tuple[Tensor, _State]:
        hidden_BH = self.pre_ln(hidden_BH)
        if state is None:
            zero_BH = torch.zeros_like(hidden_BH)
            state = _empty(self.attention.time_decay, zero_BH), zero_BH, zero_BH
        sums, time_BH, channel_BH = state
        x_BH = self.ln1(hidden_BH)
        out_BH, sums = self.attention.step(x_BH, time_BH, sums)
        hidden_BH = hidden_BH + self.dropout(out_BH)
        y_BH = self.ln2(hidden_BH)
        hidden_BH = hidden_BH + self.dropout(self.feed_forward(y_BH, channel_BH))
        return hidden_BH, (sums, x_BH, y_BH)


class _TimeMixing(nn.Module):
    def __init__(self, width: int, layer: int, layers: int) -> None:
        super().__init__()
        # The paper's initial values (appendix E): channels decay and mix at graded speeds, later layers differently.
        depth = layer / max(1, layers - 1)
        part_H = torch.arange(width) / width
        self.time_decay = nn.Parameter(-5 + 8 * (torch.arange(width) / max(1, width - 1)) ** (0.7 + 1.3 * depth))
        self.time_first = nn.Parameter(math.log(0.3) + 0.5 * ((torch.arange(width) + 1) % 3 - 1.0))
        self.time_mix_key = nn.Parameter(part_H.pow(1 - layer / layers).view(1, 1, -1))
        self.time_mix_value = nn.Parameter((part_H.pow(1 - layer / layers) + 0.3 * depth).view(1, 1, -1))
        self.time_mix_receptance = nn.Parameter(part_H.pow(0.5 * (1 - layer / layers)).view(1, 1, -1))
        self.key, self.value, self.receptance, self.output = (_linear(width, width) for _ in range(4))

    def forward(self, x_BLH: Tensor, before_BLH: Tensor) -> Tensor:
        receptance_BLH, key_BLH, value_BLH = self._project(x_BLH, before_BLH)
        out_BLH: Tensor = self.output(receptance_BLH * wkv(self.time_decay, self.time_first, key_BLH, value_BLH))
        return out_BLH

    def step(self, x_BH: Tensor, before_BH: Tensor, sums: Sums) -> tuple[Tensor, Sums]:
        receptance_BH, key_BH, value_BH = self._project(x_BH, before_BH)
        wkv_BH, sums = _wkv_step(self.time_decay, self.time_first, key_BH, value_BH, sums)
        out_BH: Tensor = self.output(receptance_BH * wkv_BH)
        return out_BH, sums

    def _project(self, x_BLH: Tensor, before_BLH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self.receptance(_mix(x_BLH, before_BLH, self.time_mix_receptance)).sigmoid(),
            self.key(_mix(x_BLH, before_BLH, self.time_mix_key)),
            self.value(_mix(x_BLH, before_BLH, self.time_mix_value)),
        )


class _ChannelMixing(nn.Module):
    def __init__(self, width: int, inner: int, layer: int, layers: int) -> None:
        super().__init__()
        part_H = torch.arange(width) / width
        self.time_mix_key = nn.Parameter(part_H.pow(1 - layer / layers).view(1, 1, -1))
        self.time_mix_receptance = nn.Parameter(part_H.pow(1 - layer / layers).view(1, 1, -1))
        self.key, self.value, self.receptance = _linear(width, inner), _linear(inner, width), _linear(width, width)

    def forward(self, x_BLH: Tensor, before_BLH: Tensor) -> Tensor:
        key_BLF = self.key(_mix(x_BLH, before_BLH, self.time_mix_key)).relu().square()
        receptance_BLH = self.receptance(_mix(x_BLH, before_BLH, self.time_mix_receptance)).sigmoid()
        out_BLH: Tensor = receptance_BLH * self.value(key_BLF)
        return out_BLH


def wkv(decay_H: Tensor, first_H: Tensor, key_BLH: Tensor, value_BLH: Tensor) -> Tensor:
    """wkv_BLH with w = exp(decay_H) and u = first_H: the class's formula, stable for keys of any size.

    A loop over places: at L = 5 faster than a scan by doublings (26 to 54 ms) or a masked quadratic form (111 ms) with
    its L x L exponents for every channel; at L = 256 as fast as the scan. Computed in float32 at least.
    """
    sums, places = _empty(decay_H, value_BLH[:, 0]), []
    for key_BH, value_BH in zip(key_BLH.unbind(1), value_BLH.unbind(1), strict=True):
        wkv_BH, sums = _wkv_step(decay_H, first_H, key_BH, value_BH, sums)
        places.append(wkv_BH)
    return torch.stack(places, dim=1)


def _wkv_step(decay_H: Tensor, first_H: Tensor, key_BH: Tensor, value_BH: Tensor, sums: Sums) -> tuple[Tensor, Sums]:
    """wkv_BH of this place and the sums that the next one reads."""
    key_BH, wide_BH = _wide(key_BH), _wide(value_BH)
    now = (wide_BH, torch.ones_like(wide_BH), key_BH)
    numerator_BH, denominator_BH, _ = _add(sums, now, first_H)
    return (numerator_BH / denominator_BH).to(value_BH.dtype), _add(now, sums, -_wide(decay_H).exp())


def _empty(decay_H: Tensor, like_BH: Tensor) -> Sums:
    """The sums of no place. The zeros hang on the decay, so that it has a gradient, of zero, even for L = 1."""
    zero_BH = _wide(decay_H) * torch.zeros_like(_wide(like_BH))
    return zero_BH, zero_BH, torch.full_like(zero_BH, -torch.inf)


def _add(one: Sums, other: Sums, by_H: Tensor) -> Sums:
    """The sums of both with the other's exponents raised by by_H."""
    moved = other[2] + by_H
    # Any reference gives the same sums, so none of its own gradient is needed.
    top = torch.maximum(one[2], moved).detach()
    here, there = (one[2] - top).exp(), (moved - top).exp()
    return here * one[0] + there * other[0], here * one[1] + there * other[1], top


def _shift(x_BLH: Tensor) -> Tensor:
    return F.pad(x_BLH[:, :-1], (0, 0, 1, 0))


def _mix(x_BLH: Tensor, before_BLH: Tensor, share_11H: Tensor) -> Tensor:
    return before_BLH + (x_BLH - before_BLH) * share_11H.view(-1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.orthogonal_(linear.weight, gain=max(1.0, math.sqrt(outputs / inputs)))
    return linear
