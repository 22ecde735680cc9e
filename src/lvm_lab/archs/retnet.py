"""RetNet: multi-scale retention, one function in three forms that agree: parallel, chunkwise and recurrent.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head's keys, V of its values,
T place that reads, J place that is read.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.attention import check_heads, rotate
from lvm_lab.nn.blocks import ResidualLayer, ResidualStack, check_sizes

State = tuple[Tensor, Tensor]


class RetNet(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L; `step` is its recurrent form.

    Each layer's state is the number of places so far and state_BKPV, of constant size.

    Retention (Sun et al. 2023, arXiv:2307.08621): y_t = sum over j <= t of gamma^(t-j) (q_t . k_j) v_j with q and k
    turned by their place (rotary), gamma fixed for each head, every head's output normalised by itself and gated by
    swish. The paper's scalings of the scores cancel in that normalisation and are left out; queries and keys have a
    bias, which it has not; the feed-forward layer is the gated one of this package. Contexts up to `chunk` places use
    the parallel form, longer ones the chunkwise.

    Short contexts: places are relative (rotary and decay); the state begins at the first vector that is read, as zero.

    dim, context_length: D and the usual L, which sets nothing here; width: H; value_mult: V / P; shortest, longest:
    places after which the first and the last head keep 1/e, logarithmic between them (the paper: 32 and 512);
    ff_mult * width: inner size of the MLP; dropout: on both branches of a layer. Raises UserError for sizes below 1,
    dropout outside [0, 1), heads that do not divide width or are of odd size, or spans that are no range above 0.
    """

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
        retentions = (Retention(width, heads, value_mult, shortest, longest, chunk) for _ in range(layers))
        stack = (ResidualLayer("retention", retention, width, inner, dropout) for retention in retentions)
        super().__init__(dim, width, stack)


class Retention(nn.Module):
    """Gated multi-scale retention, `forward(x_BLH) -> y_BLH`, parallel or chunkwise; `step` is the recurrent form."""

    def __init__(self, width: int, heads: int, value_mult: int, shortest: float, longest: float, chunk: int) -> None:
        super().__init__()
        self.heads, self.chunk = heads, chunk
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

    def forward(self, x_BLH: Tensor) -> Tensor:
        query_BKLP, key_BKLP, value_BKLV, gate_BLV = self._project(x_BLH, 0)
        if x_BLH.shape[1] <= self.chunk:
            y_BKLV = retention_parallel(query_BKLP, key_BKLP, value_BKLV, self.log_gamma_K)
        else:
            y_BKLV, _ = retention_chunkwise(query_BKLP, key_BKLP, value_BKLV, self.log_gamma_K, self.chunk)
        return self._close(y_BKLV, gate_BLV)

    def step(self, x_BH: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One more place; the state is the number of places so far and state_BKPV."""
        place, state_BKPV = (torch.zeros((), dtype=torch.int64), None) if state is None else state
        query_BK1P, key_BK1P, value_BK1V, gate_B1V = self._project(x_BH[:, None], int(place))
        y_BK1V, state_BKPV = retention_recurrent(query_BK1P, key_BK1P, value_BK1V, self.log_gamma_K, state_BKPV)
        return self._close(y_BK1V, gate_B1V)[:, 0], (place + 1, state_BKPV)

    def _project(self, x_BLH: Tensor, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys and values of the places from number `place` on, and the gate."""
        batch, length, _ = x_BLH.shape
        qk_BLKP = rotate(self.query_key(x_BLH).view(batch, length, 2 * self.heads, -1), place)
        query_BKLP, key_BKLP = qk_BLKP.transpose(1, 2).chunk(2, dim=1)
        key_BKLP = key_BKLP * key_BKLP.shape[-1] ** -0.5
        value_BLV, gate_BLV = self.value_gate(x_BLH).chunk(2, dim=-1)
        return query_BKLP, key_BKLP, value_BLV.view(batch, length, self.heads, -1).transpose(1, 2), gate_BLV

    def _close(self, y_BKLV: Tensor, gate_BLV: Tensor) -> Tensor:
        batch, _, length, _ = y_BKLV.shape
        # GroupNorm takes rows of channels: a place is a row, a head a group.
        normed_BLV = self.norm(y_BKLV.transpose(1, 2).reshape(batch * length, -1)).view(batch, length, -1)
        out_BLH: Tensor = self.out(F.silu(gate_BLV) * normed_BLV)
        return out_BLH


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
        update_BKPV = (key * since_KL1.exp().to(key.dtype)).transpose(-2, -1) @ value
        state_BKPV = (size * log_gamma_K).exp().to(query.dtype)[:, None, None] * state_BKPV + update_BKPV
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
