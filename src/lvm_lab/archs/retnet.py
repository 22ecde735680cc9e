"""RetNet: multi-scale retention, one function in three forms that agree: parallel, chunkwise and recurrent.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head's keys, V of its values,
T place that reads, J place that is read.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.archs._attention import check_heads, rotate
from lvm_lab.archs._blocks import GatedMLP, InputProjection, check_sizes
from lvm_lab.archs._streaming import step_layers
from lvm_lab.errors import UserError


class RetNet(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L; `step` is its recurrent form.

    Retention (Sun et al. 2023, arXiv:2307.08621): y_t = sum over j <= t of gamma^(t-j) (q_t . k_j) v_j with q and k
    turned by their place (rotary), gamma fixed for each head, every head's output normalised by itself and gated by
    swish. The paper's scalings of the scores cancel in that normalisation and are left out; queries and keys have a
    bias, which it has not; the feed-forward layer is the gated one of this package. Contexts up to `chunk` places use
    the parallel form, longer ones the chunkwise.

    dim, context_length: D and the usual L, which sets nothing here; width: H; value_mult: V / P; shortest, longest:
    places after which the first and the last head keep 1/e, logarithmic between them (the paper: 32 and 512);
    ff_mult * width: inner size of the MLP; dropout: on both branches of a layer. Raises UserError for sizes below 1,
    dropout outside [0, 1), heads that do not divide width or are of odd size, or spans that are no range above 0.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        heads: int = 4,
        value_mult: int = 2,
        shortest: float = 1.0,
        longest: float = 32.0,
        ff_mult: float = 2.0,
        chunk: int = 64,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes("retnet", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("retnet", heads=heads, value_mult=value_mult, chunk=chunk, **{"ff_mult * width": inner})
        check_heads("retnet", heads, width)
        if not 0.0 < shortest <= longest:
            raise UserError(
                f"retnet: shortest = {shortest} and longest = {longest}; set them so that 0 < shortest <= longest."
            )
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.layers = nn.ModuleList(
            _Layer(Retention(width, heads, value_mult, shortest, longest, chunk), inner, dropout) for _ in range(layers)
        )
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: Any | None = None) -> tuple[Tensor, Any]:
        """hidden_BH of the next place and the state after it, of constant size; None begins.

        Each layer's state is the number of places so far and state_BKPV.
        """
        hidden_BH, state = step_layers(self.layers, self.input(x_BD[:, None])[:, 0], state)
        hidden_BH = self.norm_out(hidden_BH)
        return hidden_BH, state


class _Layer(nn.Module):
    def __init__(self, retention: Retention, inner: int, dropout: float) -> None:
        super().__init__()
        width = retention.width
        self.norm_retention = nn.LayerNorm(width)
        self.retention = retention
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        y_BLH, _ = self.retention(self.norm_retention(hidden_BLH))
        return self._finish(hidden_BLH, y_BLH)

    def step(self, hidden_BH: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Any]:
        place, state_BKPV = (torch.zeros((), dtype=torch.int64), None) if state is None else state
        x_B1H = self.norm_retention(hidden_BH[:, None])
        y_B1H, state_BKPV = self.retention(x_B1H, "recurrent", int(place), state_BKPV)
        return self._finish(hidden_BH, y_B1H[:, 0]), (place + 1, state_BKPV)

    def _finish(self, hidden: Tensor, y: Tensor) -> Tensor:
        hidden = hidden + self.dropout(y)
        return hidden + self.dropout(self.mlp(self.norm_mlp(hidden)))


class Retention(nn.Module):
    """Gated multi-scale retention, `forward(x_BLH) -> (y_BLH, state_BKPV)`; the parallel form has no state (None).

    form: parallel, chunkwise, recurrent, or None for the one that fits the length. place: number of the first place;
    state_BKPV: what the places before it left (not for the parallel form).
    """

    def __init__(self, width: int, heads: int, value_mult: int, shortest: float, longest: float, chunk: int) -> None:
        super().__init__()
        self.width, self.heads, self.value_mult, self.chunk = width, heads, value_mult, chunk
        # gamma = exp(-1 / span); the paper's 1 - 2^(-5 - k) has, but for 2%, the spans 32, 64, 128, ...
        span_K = torch.logspace(math.log10(shortest), math.log10(longest), heads, dtype=torch.float64)
        self.log_gamma_K: Tensor
        self.register_buffer("log_gamma_K", (-1.0 / span_K).to(torch.get_default_dtype()))
        self.query_key = nn.Linear(width, 2 * width)
        # Equal biases of queries and keys make the first scores a positive function of the lag, and a head a smooth
        # linear filter. From zero the scores are products of either sign, which the norm blows up to full size: with
        # few documents such a model learns them by heart.
        nn.init.constant_(self.query_key.bias, 0.5)
        self.value_gate = nn.Linear(width, 2 * value_mult * width, bias=False)
        self.norm = nn.GroupNorm(heads, value_mult * width)
        self.out = nn.Linear(value_mult * width, width, bias=False)

    def forward(
        self,
        x_BLH: Tensor,
        form: str | None = None,
        place: int = 0,
        state_BKPV: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        batch, length, _ = x_BLH.shape
        qk_BLKP = rotate(self.query_key(x_BLH).view(batch, length, 2 * self.heads, -1), place)
        query_BKLP, key_BKLP = qk_BLKP.transpose(1, 2).chunk(2, dim=1)
        key_BKLP = key_BKLP * key_BKLP.shape[-1] ** -0.5
        value_BLV, gate_BLV = self.value_gate(x_BLH).chunk(2, dim=-1)
        value_BKLV = value_BLV.view(batch, length, self.heads, -1).transpose(1, 2)

        form = form or ("parallel" if length <= self.chunk else "chunkwise")
        if form == "parallel":
            assert state_BKPV is None
            y_BKLV = retention_parallel(query_BKLP, key_BKLP, value_BKLV, self.log_gamma_K)
        elif form == "chunkwise":
            y_BKLV, state_BKPV = retention_chunkwise(
                query_BKLP, key_BKLP, value_BKLV, self.log_gamma_K, self.chunk, state_BKPV
            )
        else:
            assert form == "recurrent"
            y_BKLV, state_BKPV = retention_recurrent(query_BKLP, key_BKLP, value_BKLV, self.log_gamma_K, state_BKPV)
        # GroupNorm takes rows of channels: a place is a row, a head a group.
        normed_BLV = self.norm(y_BKLV.transpose(1, 2).reshape(batch * length, -1)).view(batch, length, -1)
        out_BLH: Tensor = self.out(F.silu(gate_BLV) * normed_BLV)
        return out_BLH, state_BKPV


def retention_parallel(query_BKLP: Tensor, key_BKLP: Tensor, value_BKLV: Tensor, log_gamma_K: Tensor) -> Tensor:
    """y_BKLV by the quadratic form, ((Q K^T) * decay) V with decay_tj = gamma^(t-j) for j <= t."""
    place_L = torch.arange(query_BKLP.shape[-2], device=query_BKLP.device)
    back_TJ = place_L[:, None] - place_L
    # Clamped before exp: gamma^(negative) of a far future place would overflow.
    decay_KTJ = (back_TJ.clamp(min=0) * log_gamma_K[:, None, None]).exp() * (back_TJ >= 0)
    score_BKTJ = query_BKLP @ key_BKLP.transpose(-2, -1)
    return (score_BKTJ * decay_KTJ.to(score_BKTJ.dtype)) @ value_BKLV


def retention_chunkwise(
    query_BKLP: Tensor,
    key_BKLP: Tensor,
    value_BKLV: Tensor,
    log_gamma_K: Tensor,
    chunk: int,
    state_BKPV: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y_BKLV and the last state: parallel within chunks of `chunk` places, recurrent across them."""
    if state_BKPV is None:
        state_BKPV = _empty(key_BKLP, value_BKLV)
    out = []
    for query, key, value in zip(
        query_BKLP.split(chunk, -2), key_BKLP.split(chunk, -2), value_BKLV.split(chunk, -2), strict=True
    ):
        size = query.shape[-2]
        ahead_KL1 = log_gamma_K[:, None, None] * torch.arange(1, size + 1, device=query.device)[:, None]
        since_KL1 = log_gamma_K[:, None, None] * torch.arange(size - 1, -1, -1, device=query.device)[:, None]
        within = retention_parallel(query, key, value, log_gamma_K)
        out.append(within + (query @ state_BKPV) * ahead_KL1.exp().to(query.dtype))
        written_BKPV = (key * since_KL1.exp().to(key.dtype)).transpose(-2, -1) @ value
        state_BKPV = (size * log_gamma_K).exp().to(query.dtype)[:, None, None] * state_BKPV + written_BKPV
    return torch.cat(out, dim=-2), state_BKPV


def retention_recurrent(
    query_BKLP: Tensor,
    key_BKLP: Tensor,
    value_BKLV: Tensor,
    log_gamma_K: Tensor,
    state_BKPV: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """y_BKLV and the last state, place by place: state = gamma state + k_t v_t^T, y_t = q_t state."""
    if state_BKPV is None:
        state_BKPV = _empty(key_BKLP, value_BKLV)
    gamma_K11 = log_gamma_K.exp().to(query_BKLP.dtype)[:, None, None]
    out = []
    for t in range(query_BKLP.shape[-2]):
        state_BKPV = gamma_K11 * state_BKPV + key_BKLP[..., t, :, None] * value_BKLV[..., t, None, :]
        out.append(query_BKLP[..., t, None, :] @ state_BKPV)
    return torch.cat(out, dim=-2), state_BKPV


def _empty(key_BKLP: Tensor, value_BKLV: Tensor) -> Tensor:
    return key_BKLP.new_zeros(*key_BKLP.shape[:2], key_BKLP.shape[-1], value_BKLV.shape[-1])
