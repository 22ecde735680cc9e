"""Linformer's attention against softmax attention at full rank, and against its definition below it.

Shape suffixes: B batch, L length, H hidden dim, K heads, P dim of a head, R rank, N longest length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from helpers.parity._common import Row, largest, rows
from lvm_lab.archs.linformer import LinearAttention

WIDTH, HEADS, RANK = 16, 2, 3


def attention(module: LinearAttention, x_BLH: Tensor, key_RN: Tensor | None, value_RN: Tensor | None) -> Tensor:
    """softmax(Q (E K)^T / sqrt(P)) (F V) head by head; None for E and F is plain softmax attention."""
    query_BLH, key_BLH, value_BLH = module.qkv(x_BLH).chunk(3, dim=-1)
    if key_RN is not None and value_RN is not None:
        in_front = torch.zeros(len(x_BLH), key_RN.shape[1] - x_BLH.shape[1], WIDTH, dtype=x_BLH.dtype)
        key_BLH = torch.einsum("rn,bnh->brh", key_RN, torch.cat((in_front, key_BLH), dim=1))
        value_BLH = torch.einsum("rn,bnh->brh", value_RN, torch.cat((in_front, value_BLH), dim=1))
    size = WIDTH // HEADS
    heads = []
    for k in range(HEADS):
        part = slice(k * size, k * size + size)
        score_BLR = torch.einsum("blp,brp->blr", query_BLH[..., part], key_BLH[..., part]) / size**0.5
        heads.append(score_BLR.softmax(-1) @ value_BLH[..., part])
    return module.out(torch.cat(heads, dim=-1))


def full_rank_against_softmax(length: int, dtype: torch.dtype) -> float:
    """Identity projections: nothing is left out, so it is the attention of a Transformer without a mask."""
    linear = LinearAttention(WIDTH, HEADS, length, length)
    linear.key_RN.copy_(torch.eye(length))
    linear.value_RN.copy_(torch.eye(length))
    x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    got = linear.to(dtype)(x_BLH)
    return largest(got, attention(linear.double(), x_BLH.double(), None, None))


def short_context_against_zeros_in_front(length: int, dtype: torch.dtype) -> float:
    linear = LinearAttention(WIDTH, HEADS, RANK, length + 3)
    x_BLH = torch.randn(2, length, WIDTH, dtype=dtype)
    got = linear.to(dtype)(x_BLH)
    linear.double()
    return largest(got, attention(linear, x_BLH.double(), linear.key_RN, linear.value_RN))


def comparisons() -> list[Row]:
    gaps = {
        "softmax attention, full rank": full_rank_against_softmax,
        f"definition, rank {RANK}, three short": short_context_against_zeros_in_front,
    }
    return rows("linformer", gaps)
