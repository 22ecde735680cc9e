"""Performer: causal attention in linear time, its softmax kernel replaced by positive random features.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head, M random features,
T place that reads, J place that is read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvm_lab.nn.attention import check_heads, rotate
from lvm_lab.nn.blocks import GatedMLP, ResidualStack, check_sizes, residual_mlp

State = tuple[Tensor, Tensor, Tensor]


class Performer(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L; `step` is its recurrent form.

    Each layer's state is the number of places so far and (numerator, denominator, maximum), of constant size.

    FAVOR+ (Choromanski et al. 2021, arXiv:2009.14794): exp(q . k / sqrt(P)) is estimated by phi(q) . phi(k) with
    phi(x) = exp(w x - |x|^2 / 2) / sqrt(M) over M orthogonal random directions w. They are drawn from torch's global
    generator when the layer is made, never redrawn, and kept in the state dict. Places enter as rotary positions.

    The exponents are stabilised by maxima that a place can know: over its own features, and over the keys up to it.
    A maximum over the whole sequence, as is common, lets the future round the past.

    Short contexts: places are relative (rotary); sums and maxima begin at the first vector that is read.

    dim, context_length: D and the usual L, which sets nothing here; width: H; features: M; chunk: places that are
    read at once, contexts up to it use the quadratic form; ff_mult * width: inner size of the MLP; dropout: on both
    branches of a layer. Raises UserError for sizes below 1, dropout outside [0, 1), heads that do not divide width or
    heads of odd size.
    """

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        heads: int = 4,
        features: int = 64,
        ff_mult: float = 2.0,
        chunk: int = 64,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes("performer", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("performer", heads=heads, features=features, chunk=chunk, **{"ff_mult * width": inner})
        check_heads("performer", heads, width)
        stack = (_Layer(width, heads, features, inner, chunk, dropout) for _ in range(layers))
        super().__init__(dim, width, stack)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, features: int, inner: int, chunk: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.chunk = heads, chunk
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.directions_MP: Tensor
        self.register_buffer("directions_MP", orthogonal_directions(features, width // heads))
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        attention_BLH, _ = self._attend(hidden_BLH, 0, None, False)
        return residual_mlp(self, hidden_BLH, self.out(attention_BLH))

    def step(self, hidden_BH: Tensor, state: tuple[Tensor, State] | None) -> tuple[Tensor, tuple[Tensor, State]]:
        place, sums = (torch.zeros((), dtype=torch.int64), None) if state is None else state
        attention_B1H, sums = self._attend(hidden_BH[:, None], int(place), sums, True)
        assert sums is not None
        return residual_mlp(self, hidden_BH, self.out(attention_B1H[:, 0])), (place + 1, sums)

    def _attend(
        self, hidden_BLH: Tensor, place: int, sums: State | None, keep_state: bool
    ) -> tuple[Tensor, State | None]:
        batch, length, width = hidden_BLH.shape
        qkv = self.qkv(self.norm_attention(hidden_BLH)).view(batch, length, 3 * self.heads, width // self.heads)
        qk, value_BLKP = qkv.split((2 * self.heads, self.heads), dim=2)
        query_BKLP, key_BKLP = rotate(qk, place).transpose(1, 2).chunk(2, dim=1)
        attention_BKLP, sums = favor(
            query_BKLP, key_BKLP, value_BLKP.transpose(1, 2), self.directions_MP, self.chunk, sums, keep_state
        )
        return attention_BKLP.transpose(1, 2).flatten(2), sums


def orthogonal_directions(features: int, head_dim: int) -> Tensor:
    """directions_MP with rows of the lengths that normal ones have, orthogonal within every block of P.

    Each row by itself is then standard normal, and the kernel estimated without bias.
    """
    blocks = [_rotation(head_dim) for _ in range(-(-features // head_dim))]
    length_M1 = torch.randn(features, head_dim).norm(dim=-1, keepdim=True)
    return torch.cat(blocks)[:features] * length_M1


def _rotation(size: int) -> Tensor:
    """An orthogonal matrix from the uniform (Haar) distribution."""
    # LAPACK's reflections leave signs that hang on the entries: without those of R's diagonal every column points away
    # from the first axis (Mezzadri 2007, arXiv:math-ph/0609050, section 5).
    square, triangle = torch.linalg.qr(torch.randn(size, size))
    return (square * triangle.diagonal().sign()).T


def exponents(x_BKLP: Tensor, directions_MP: Tensor) -> Tensor:
    """log of sqrt(M) phi(x) as exponent_BKLM, with the P^(-1/4) of softmax attention's scale inside."""
    scaled_BKLP = x_BKLP * x_BKLP.shape[-1] ** -0.25
    return scaled_BKLP @ directions_MP.T.to(x_BKLP.dtype) - scaled_BKLP.square().sum(-1, keepdim=True) / 2


def favor(
    query_BKLP: Tensor,
    key_BKLP: Tensor,
    value_BKLP: Tensor,
    directions_MP: Tensor,
    chunk: int,
    state: State | None = None,
    keep_state: bool = True,
) -> tuple[Tensor, State | None]:
    """Causal attention with weights phi(q_t) . phi(k_j), as attention_BKLP, and the state after the last place
    (None without `keep_state`).

    Quadratic within `chunk` places, recurrent across chunks, so chunk = L is the quadratic and chunk = 1 the recurrent
    form. The state is (sum of phi(k_j) v_j^T, sum of phi(k_j), maximum of all exponents so far), both sums over
    exp(maximum).
    """
    query_BKLM, key_BKLM = exponents(query_BKLP, directions_MP), exponents(key_BKLP, directions_MP)
    # Constant factors of a place's query cancel between numerator and denominator.
    query_BKLM = (query_BKLM - query_BKLM.detach().amax(-1, keepdim=True)).exp()
    # A factor of a place's key does not cancel: it is put back as exp(own - running), which is at most 1.
    own_BKL = key_BKLM.detach().amax(-1)
    key_BKLM = (key_BKLM - own_BKL[..., None]).exp()
    out = []
    queries, keys = query_BKLM.split(chunk, -2), key_BKLM.split(chunk, -2)
    for i, (value, own) in enumerate(zip(value_BKLP.split(chunk, -2), own_BKL.split(chunk, -1), strict=True)):
        # Nobody reads what the last chunk leaves, unless asked for: a fifth of the work at L = 5.
        leave = keep_state or i + 1 < len(queries)
        mixed, state = _favor_chunk(queries[i], keys[i], value, own, state, leave)
        out.append(mixed)
    return torch.cat(out, dim=-2), state


def _favor_chunk(
    query_BKTM: Tensor, key_BKJM: Tensor, value_BKJP: Tensor, own_BKJ: Tensor, state: State | None, leave: bool
) -> tuple[Tensor, State | None]:
    running_BKT = own_BKJ.cummax(-1).values
    if state is not None:
        sum_BKMP, total_BKM, before_BK = state
        running_BKT = torch.maximum(running_BKT, before_BK[..., None])
    future_TJ = torch.ones(own_BKJ.shape[-1], own_BKJ.shape[-1], dtype=torch.bool, device=own_BKJ.device).triu(1)
    gap_BKTJ = (own_BKJ[..., None, :] - running_BKT[..., None]).masked_fill(future_TJ, -torch.inf)
    weight_BKTJ = (query_BKTM @ key_BKJM.transpose(-2, -1)) * gap_BKTJ.exp()
    attention_BKTP = weight_BKTJ @ value_BKJP
    weights_BKT = weight_BKTJ.sum(-1)
    if state is not None:
        fade_BKT1 = (before_BK[..., None] - running_BKT).exp()[..., None]
        attention_BKTP = attention_BKTP + (query_BKTM @ sum_BKMP) * fade_BKT1
        weights_BKT = weights_BKT + ((query_BKTM @ total_BKM[..., None]) * fade_BKT1)[..., 0]
    # Only where every shared feature has underflowed is the sum 0; the place then reads nothing.
    attention_BKTP = attention_BKTP / weights_BKT.clamp_min(torch.finfo(weights_BKT.dtype).tiny)[..., None]
    if not leave:
        return attention_BKTP, None

    last_BK = running_BKT[..., -1]
    key_BKJM = key_BKJM * (own_BKJ - last_BK[..., None]).exp()[..., None]
    after_BKMP, after_BKM = key_BKJM.transpose(-2, -1) @ value_BKJP, key_BKJM.sum(-2)
    if state is not None:
        keep_BK1 = (before_BK - last_BK).exp()[..., None]
        after_BKMP, after_BKM = after_BKMP + sum_BKMP * keep_BK1[..., None], after_BKM + total_BKM * keep_BK1
    return attention_BKTP, (after_BKMP, after_BKM, last_BK)
