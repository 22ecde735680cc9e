"""amn against its definition, head by head and place by place, with and without positions.

Shape suffixes: B batch, L length, D vector dim, H hidden dim, P dim of a head, J places that are read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from helpers.parity._common import Row, affine, against, embed, layer_norm, rows, step, swiglu
from lvm_lab.archs.amn import AMN

DIM, WIDTH, HEADS = 12, 16, 2


def definition(ours: Any, x_BLD: Tensor) -> Tensor:
    context_BLH = embed(x_BLD, ours.input)
    length = context_BLH.shape[1]
    state_BLH = torch.stack([context_BLH[:, : t + 1].mean(1) for t in range(length)], dim=1)
    for layer in ours.layers:
        asked_BLH = layer_norm(state_BLH, layer.norm_query)
        if layer.places:
            asked_BLH = torch.cat((asked_BLH, context_BLH), dim=-1)
        query_BLH = affine(asked_BLH, layer.query)
        key_BLH, value_BLH = affine(context_BLH, layer.key_value).chunk(2, dim=-1)
        mixed_BLH = torch.stack([mixture(layer, query_BLH[:, t], key_BLH, value_BLH, t) for t in range(length)], dim=1)
        state_BLH = state_BLH + affine(mixed_BLH, layer.out)
        state_BLH = state_BLH + swiglu(layer_norm(state_BLH, layer.norm_mlp), layer.mlp)
    return layer_norm(state_BLH, ours.norm_out)


def mixture(layer: Any, query_BH: Tensor, key_BLH: Tensor, value_BLH: Tensor, t: int) -> Tensor:
    """What place t reads: Shaw et al. 2018, equations 3 and 4, a key and a value for every pair, and each head's score
    of the distance."""
    size = WIDTH // HEADS
    heads = []
    for k in range(HEADS):
        part = slice(k * size, (k + 1) * size)
        key_BJP, value_BJP, score_J = key_BLH[:, : t + 1, part], value_BLH[:, : t + 1, part], 0.0
        if layer.places:
            back = [min(t - j, layer.places - 1) for j in range(t + 1)]
            key_BJP, value_BJP = key_BJP + layer.place_key_KRP[k, back], value_BJP + layer.place_value_KRP[k, back]
            score_J = layer.place_score_KR[k, back]
        weight_BJ = ((query_BH[:, None, part] * key_BJP).sum(-1) / size**0.5 + score_J).softmax(-1)
        heads.append((weight_BJ[..., None] * value_BJP).sum(1))
    return torch.cat(heads, dim=-1)


def comparisons() -> list[Row]:
    gaps = {}
    for name, positions in (("", True), (", no positions", False)):

        def build(positions: bool = positions) -> AMN:
            return AMN(DIM, 5, width=WIDTH, layers=2, heads=HEADS, positions=positions)

        gaps[f"definition, place by place{name}"] = against(build, definition, DIM)
        gaps[f"step{name}"] = step(build, DIM)
    return rows("amn", gaps)
