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

from lvm_lab.archs.rwkv import RWKV

WIDTH, LAYERS = 32, 3


def pair() -> tuple[Any, Any]:
    """Ours without its input projection, and transformers' with ours' weights and no rescaling of layers."""
    torch.manual_seed(0)
    ours: Any = RWKV(WIDTH, 5, width=WIDTH, layers=LAYERS).eval()
    ours.input = nn.Identity()
    config = transformers.RwkvConfig(
        vocab_size=3, hidden_size=WIDTH, num_hidden_layers=LAYERS, rescale_every=0, use_cache=False
    )
    theirs = transformers.RwkvModel(config).eval()
    with torch.no_grad():
        for parameter in ours.parameters():  # off the initial ones and zeros, so that a swapped name would show
            parameter += 0.05 * torch.randn(parameter.shape)
    problems = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert problems.missing_keys == ["embeddings.weight"]
    assert problems.unexpected_keys == []
    return ours, theirs


def wkv_by_its_formula(decay_H: Tensor, first_H: Tensor, key_BLH: Tensor, value_BLH: Tensor) -> Tensor:
    """The paper's equation 16, every sum written out; overflows for large keys."""
    places = []
    for t in range(key_BLH.shape[1]):
        weights = [torch.exp(key_BLH[:, j] - (t - 1 - j) * decay_H.exp()) for j in range(t)]
        weights.append(torch.exp(key_BLH[:, t] + first_H))
        weight_BTH = torch.stack(weights, dim=1)
        places.append((weight_BTH * value_BLH[:, : t + 1]).sum(1) / weight_BTH.sum(1))
    return torch.stack(places, dim=1)


@torch.no_grad()
def comparisons() -> list[tuple[str, str, int, str, float]]:
    """(arch, reference, L, dtype, largest difference) at a short and a long context.

    transformers computes wkv in float32 whatever it is given: in float64 its model gets the formula instead.
    """

    def by_formula(*args: Any, state: Any, return_state: bool) -> tuple[Tensor, None]:
        return wkv_by_its_formula(*args), None

    patched = mock.patch.object(modeling_rwkv, "rwkv_linear_attention", by_formula)
    rows = []
    for length in (5, 256):
        ours, theirs = pair()
        x_BLH = torch.randn(2, length, WIDTH)
        gap = (ours(x_BLH) - theirs(inputs_embeds=x_BLH).last_hidden_state).abs().max().item()
        rows.append(("rwkv", "transformers.RwkvModel", length, "float32", gap))
        ours, theirs, x_BLH = ours.double(), theirs.double(), x_BLH.double()
        with patched:
            gap = (ours(x_BLH) - theirs(inputs_embeds=x_BLH).last_hidden_state).abs().max().item()
        rows.append(("rwkv", "transformers.RwkvModel, wkv by its formula", length, "float64", gap))
    return rows
