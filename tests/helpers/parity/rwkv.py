"""rwkv's blocks against transformers' RwkvModel (RWKV-4) with the same weights, and its wkv against the formula.

Shape suffixes: B batch, L length, H channels.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
import transformers
from torch import Tensor, nn
from transformers.models.rwkv import modeling_rwkv

from helpers.parity._common import Row, carrying, largest, rows, shaken, step
from lvm_lab.archs.rwkv import RWKV

WIDTH, LAYERS = 32, 3


def build() -> Any:
    return RWKV(WIDTH, 5, width=WIDTH, layers=LAYERS)


def against_theirs(length: int, dtype: torch.dtype) -> float:
    """Ours without its input projection, and transformers' with ours' weights and no rescaling of layers."""
    ours = shaken(build())
    ours.input = nn.Identity()
    config = transformers.RwkvConfig(
        vocab_size=3, hidden_size=WIDTH, num_hidden_layers=LAYERS, rescale_every=0, use_cache=False
    )
    theirs = carrying(transformers.RwkvModel(config), ours.state_dict(), "embeddings.weight").to(dtype)
    x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    return largest(ours.to(dtype)(x_BLH), theirs(inputs_embeds=x_BLH).last_hidden_state)


def wkv_by_its_formula(decay_H: Tensor, first_H: Tensor, key_BLH: Tensor, value_BLH: Tensor) -> Tensor:
    """The paper's equation 16, every sum written out; overflows for large keys."""
    places = []
    for t in range(key_BLH.shape[1]):
        weights = [torch.exp(key_BLH[:, j] - (t - 1 - j) * decay_H.exp()) for j in range(t)]
        weights.append(torch.exp(key_BLH[:, t] + first_H))
        weight_BTH = torch.stack(weights, dim=1)
        places.append((weight_BTH * value_BLH[:, : t + 1]).sum(1) / weight_BTH.sum(1))
    return torch.stack(places, dim=1)


def with_the_formula(length: int, dtype: torch.dtype) -> float:
    """transformers computes wkv in float32 whatever it is given: in float64 its model gets the formula instead."""

    def by_formula(*args: Any, state: Any, return_state: bool) -> tuple[Tensor, None]:
        return wkv_by_its_formula(*args), None

    with mock.patch.object(modeling_rwkv, "rwkv_linear_attention", by_formula):
        return against_theirs(length, dtype)


def comparisons() -> list[Row]:
    return (
        rows("rwkv", {"transformers.RwkvModel": against_theirs}, dtypes=[torch.float32])
        + rows("rwkv", {"transformers.RwkvModel, wkv by its formula": with_the_formula}, dtypes=[torch.float64])
        + rows("rwkv", {"step": step(build, WIDTH)})
    )
