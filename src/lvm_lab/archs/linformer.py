"""Linformer: attention to a few learned mixtures of the context instead of to each vector; not causal.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head, R rank, N = L at most.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import InputProjection, ResidualLayer, check_divides, check_sizes


class Linformer(nn.Module):
    """Backbone that is **not** causal, `forward(x_BLD) -> hidden_BLH` for L up to context_length.

    Wang et al. 2020, arXiv:2006.04768: keys and values are projected along the sequence, from context_length places to
    `rank` mixtures, with one matrix for the keys and one for the values of a layer, shared by its heads. Every place
    reads mixtures of all places, the later ones too, so there is no `step` and only the last place can be supervised.

    Short contexts: places are counted from the end: the last vector always has the last row of the position
    table and the last column of both projections, as if the missing vectors stood in front and had keys and values
    of zero.

    dim: D; context_length: the longest L, which sizes positions and projections; width: H; rank: R; ff_mult * width:
    inner size of the MLP; dropout: on both branches of a layer. Raises UserError for sizes below 1, dropout outside
    [0, 1), heads that do not divide width, and in `forward` for a context longer than context_length.
    """

    causal: bool = False

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        heads: int = 4,
        rank: int = 4,
        ff_mult: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes("linformer", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("linformer", heads=heads, rank=rank, **{"ff_mult * width": inner})
        check_divides("linformer", "heads", heads, "width", width)
        super().__init__()
        self.width = width
        self.max_length = context_length
        self.input = InputProjection(dim, width)
        self.place_NH = nn.Parameter(torch.randn(context_length, width) * 0.5)
        self.layers = nn.ModuleList(
            ResidualLayer("attention", LinearAttention(width, heads, rank, context_length), width, inner, dropout)
            for _ in range(layers)
        )
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        length = hidden_BLH.shape[1]
        if length > self.max_length:
            raise UserError(
                f"linformer: the context has {length} vectors and its projections are sized for at most "
                f"{self.max_length}; shorten the context or train with data.context_length={length}."
            )
        hidden_BLH = hidden_BLH + self.place_NH[self.max_length - length :]
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH


class LinearAttention(nn.Module):
    """`forward(x_BLH) -> y_BLH`: softmax(Q (E K)^T / sqrt(P)) (F V) with E, F as key_RN, value_RN."""

    # Linear maps along the sequence, as those beside them are along the channels.
    decayed_parameters = ("key_RN", "value_RN")

    def __init__(self, width: int, heads: int, rank: int, places: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        # Each mixture starts near one place, the last ones first, so that single vectors are told apart from the first
        # step; the noise lets it reach every place.
        near_RN = torch.eye(max(rank, places))[:rank, :places].flip(1)
        self.key_RN = nn.Parameter(near_RN + torch.randn(rank, places) * (0.25 / rank) ** 0.5)
        self.value_RN = nn.Parameter(near_RN + torch.randn(rank, places) * (0.25 / rank) ** 0.5)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLH: Tensor) -> Tensor:
        batch, length, width = x_BLH.shape
        query_BLH, key_BLH, value_BLH = self.qkv(x_BLH).chunk(3, dim=-1)
        key_BRH, value_BRH = self.key_RN[:, -length:] @ key_BLH, self.value_RN[:, -length:] @ value_BLH
        query_BKLP, key_BKRP, value_BKRP = (
            x.view(batch, -1, self.heads, width // self.heads).transpose(1, 2) for x in (query_BLH, key_BRH, value_BRH)
        )
        attention_BKLP = F.scaled_dot_product_attention(query_BKLP, key_BKRP, value_BKRP)
        out_BLH: Tensor = self.out(attention_BKLP.transpose(1, 2).reshape(batch, length, width))
        return out_BLH
