"""AMN, the attention mixture network: attention over the context on top of the mean of the context.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head,
T query position, J position that is read, R relative positions in the table.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lvm_lab.nn.blocks import GatedMLP, InputProjection, check_divides, check_sizes, residual_mlp

Cache = tuple[Tensor, Tensor]


class AMN(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    The state at position t starts as the mean of the context up to t. Each layer lets it ask the context with
    multi-head attention, adds the mixture that comes back and a gated MLP over it:
    state += out(attend(state, context)); state += mlp(norm(state)). The layers read the same context with their own
    keys and values, so the whole is a residual over the mean.

    positions: keys and values also carry how far back a vector lies (learned for 0 .. context_length - 1, anything
    farther counts as the farthest; Shaw et al. 2018, arXiv:1803.02155) and the query also sees the last vector. Without
    them the query is the state alone and the hidden vector at the last position is exactly invariant to the order of
    the context, so that no order ablation can move it; so was the field's earlier AMN; kept to compare.

    Short contexts: places are counted back from the vector that asks, so that a short one uses the first entries of the
    table, and the mean is over what was read.

    dim, context_length: D and the usual L, which sizes the position table; width: H; ff_mult * width: inner size of
    the MLP; dropout: on both branches of a layer. Raises UserError for sizes below 1, dropout outside [0, 1) or heads
    that do not divide width.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 256,
        layers: int = 1,
        heads: int = 8,
        ff_mult: float = 2.0,
        dropout: float = 0.0,
        positions: bool = True,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes(
            "amn", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers, heads=heads
        )
        check_sizes("amn", **{"ff_mult * width": inner})
        check_divides("amn", "heads", heads, "width", width)
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.layers = nn.ModuleList(
            _Layer(width, heads, inner, dropout, context_length if positions else 0) for _ in range(layers)
        )
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        context_BLH: Tensor = self.input(x_BLD)
        count_L1 = torch.arange(1, context_BLH.shape[1] + 1, device=x_BLD.device, dtype=context_BLH.dtype)[:, None]
        state_BLH = context_BLH.cumsum(dim=1) / count_L1
        for layer in self.layers:
            state_BLH = layer(state_BLH, context_BLH)
        hidden_BLH: Tensor = self.norm_out(state_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        """One more vector; the state is the sum of all so far and each layer's keys and values of them, and grows."""
        context_B1H: Tensor = self.input(x_BD[:, None])
        sum_B1H = context_B1H if state is None else state["sum"] + context_B1H
        layers: list[Any] = list(self.layers)
        before: list[Any] = [None] * len(layers) if state is None else state["caches"]
        caches = [layer.extend(context_B1H, cache) for layer, cache in zip(layers, before, strict=True)]
        state_B1H = sum_B1H / caches[0][0].shape[1]
        for layer, cache in zip(layers, caches, strict=True):
            state_B1H = layer.read(state_B1H, context_B1H, cache)
        hidden_BH: Tensor = self.norm_out(state_B1H)[:, 0]
        return hidden_BH, {"sum": sum_B1H, "caches": caches}


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, dropout: float, places: int) -> None:
        super().__init__()
        self.heads = heads
        self.places = places
        self.norm_query = nn.LayerNorm(width)
        self.query = nn.Linear(2 * width if places else width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)
        if places:
            # Of the keys' and values' own size, so that places are told apart from the first step.
            self.place_key_KRP = nn.Parameter(torch.randn(heads, places, width // heads) * 0.5)
            self.place_value_KRP = nn.Parameter(torch.randn(heads, places, width // heads) * 0.5)
            # Each head starts at a place of its own, the nearest first: a head is then a linear map of one vector,
            # where equal heads would begin as the order-free average and tend to stay close to it.
            self.place_score_KR = nn.Parameter(4.0 * torch.eye(places).repeat(-(-heads // places), 1)[:heads])

    def forward(self, state_BTH: Tensor, context_BJH: Tensor) -> Tensor:
        return self.read(state_BTH, context_BJH, self.extend(context_BJH))

    def extend(self, context_BTH: Tensor, cache: Cache | None = None) -> Cache:
        """The keys and values of all places, BJH each: those before, if any, and those of context_BTH."""
        key_BJH, value_BJH = self.key_value(context_BTH).chunk(2, dim=-1)
        if cache is not None:
            key_BJH, value_BJH = torch.cat((cache[0], key_BJH), dim=1), torch.cat((cache[1], value_BJH), dim=1)
        return key_BJH, value_BJH

    def read(self, state_BTH: Tensor, context_BTH: Tensor, cache: Cache) -> Tensor:
        """The next states of the last T places, which ask the cache; context_BTH are their own vectors."""
        query_BTH = self.norm_query(state_BTH)
        if self.places:
            query_BTH = torch.cat((query_BTH, context_BTH), dim=-1)
        return residual_mlp(self, state_BTH, self.out(self._attend(self.query(query_BTH), cache)))

    def _attend(self, query_BTH: Tensor, cache: Cache) -> Tensor:
        batch, width = query_BTH.shape[0], query_BTH.shape[-1]
        split = (batch, -1, self.heads, width // self.heads)
        query_BKTP = query_BTH.view(split).transpose(1, 2) * (width // self.heads) ** -0.5
        key_BKJP, value_BKJP = (x_BJH.reshape(split).transpose(1, 2) for x_BJH in cache)

        place_J = torch.arange(key_BKJP.shape[2], device=query_BTH.device)
        back_TJ = place_J[-query_BTH.shape[1] :, None] - place_J
        score_BKTJ = query_BKTP @ key_BKJP.transpose(-2, -1)
        if self.places:
            # One product with the short table, spread by index: a key for every (T, J) would take L * L * H.
            index_BKTJ = back_TJ.clamp(0, self.places - 1).expand(score_BKTJ.shape)
            score_BKTR = query_BKTP @ self.place_key_KRP.transpose(-2, -1) + self.place_score_KR[:, None]
            score_BKTJ = score_BKTJ + score_BKTR.gather(-1, index_BKTJ)
        weight_BKTJ = score_BKTJ.masked_fill(back_TJ < 0, -torch.inf).softmax(dim=-1)
        attention_BKTP: Tensor = weight_BKTJ @ value_BKJP
        if self.places:
            weight_BKTR = weight_BKTJ.new_zeros(*weight_BKTJ.shape[:3], self.places)
            weight_BKTR = weight_BKTR.scatter_add(-1, index_BKTJ, weight_BKTJ)
            attention_BKTP = attention_BKTP + weight_BKTR @ self.place_value_KRP
        return attention_BKTP.transpose(1, 2).flatten(2)
