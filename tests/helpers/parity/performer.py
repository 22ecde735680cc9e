"""Performer's attention against the quadratic definition of the same features, without any stabiliser.

Shape suffixes: B batch, L length, D vector dim, K heads, P dim of a head, M features, T reads J.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.parity._common import Row, largest, rows, step
from lvm_lab.archs.performer import Performer, favor, orthogonal_directions

HEADS, HEAD_DIM, FEATURES = 2, 8, 24


def inputs(length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    qkv = torch.randn(3, 2, HEADS, length, HEAD_DIM, generator=generator, dtype=torch.float64).to(dtype)
    return qkv[0], qkv[1], qkv[2]


def definition(query_BKLP: Tensor, key_BKLP: Tensor, value_BKLP: Tensor, directions_MP: Tensor) -> Tensor:
    """mixed_BKLP with weights phi(q) . phi(k), phi(x) = exp(w x - |x|^2 / 2) / sqrt(M), masked and normalised."""

    def features(x_BKLP: Tensor) -> Tensor:
        x_BKLP = x_BKLP.double() / HEAD_DIM**0.25
        return torch.exp(x_BKLP @ directions_MP.double().T - (x_BKLP**2).sum(-1, keepdim=True) / 2) / FEATURES**0.5

    weight_BKTJ = torch.einsum("bktm,bkjm->bktj", features(query_BKLP), features(key_BKLP)).tril()
    return weight_BKTJ @ value_BKLP.double() / weight_BKTJ.sum(-1, keepdim=True)


def against_the_definition(chunk: int | None, length: int, dtype: torch.dtype) -> float:
    directions_MP = orthogonal_directions(FEATURES, HEAD_DIM).to(dtype)
    qkv = inputs(length, dtype)
    got, _ = favor(*qkv, directions_MP, chunk or length)
    return largest(got, definition(*qkv, directions_MP))


@torch.no_grad()
def far_from_softmax(features: int) -> float:
    """Root mean square distance from causal softmax attention, over that attention's own."""
    torch.manual_seed(0)
    query, key, value = (x / 2 for x in inputs(32, torch.float64))
    directions_MP = orthogonal_directions(features, HEAD_DIM).double()
    got, _ = favor(query, key, value, directions_MP, 32)
    want = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return ((got - want).norm() / want.norm()).item()


def comparisons() -> list[Row]:
    forms = {"quadratic": None, "chunkwise": 48, "recurrent": 1}
    gaps = {f"definition, {form}": partial(against_the_definition, chunk) for form, chunk in forms.items()}
    gaps["step"] = step(lambda: Performer(24, 5, width=16, heads=2, features=16, chunk=48), 24)
    return rows("performer", gaps)
