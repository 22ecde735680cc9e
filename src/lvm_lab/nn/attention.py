"""Causal multi-head attention, over a whole context or one position at a time, with and without rotary positions.

Shape suffixes: B batch, L context length (T places of the queries, J places of the keys), H hidden dim, K heads,
P dim of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import check_divides

Cache = tuple[Tensor, Tensor]


class RotaryAttention(nn.Module):
    """Causal self-attention with rotary positions, `forward(x_BLH) -> out_BLH` (Su et al. 2021, arXiv:2104.09864).

    Positions are relative: there is no table that ends somewhere.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLH: Tensor) -> Tensor:
        out_BLH, _ = self._attend(x_BLH, None)
        return out_BLH

    def step(self, x_BH: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """One more position; the state is the keys, already turned, and the values of those before it."""
        out_B1H, state = self._attend(x_BH[:, None], state)
        return out_B1H[:, 0], state

    def _attend(self, x_BTH: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        batch, length, width = x_BTH.shape
        qkv = self.qkv(x_BTH).view(batch, length, 3 * self.heads, width // self.heads)
        qk, value_BTKP = qkv.split((2 * self.heads, self.heads), dim=2)
        query_BTKP, key_BTKP = rotate(qk, 0 if cache is None else cache[0].shape[2]).chunk(2, dim=2)
        attention_BTH, cache = attend(query_BTKP, key_BTKP, value_BTKP, cache)
        out_BTH: Tensor = self.out(attention_BTH)
        return out_BTH, cache


def attend(
    query_BTKP: Tensor, key_BTKP: Tensor, value_BTKP: Tensor, cache: Cache | None = None
) -> tuple[Tensor, Cache]:
    """Softmax attention of every place to itself and those before it, and the cache that the next place reads.

    With a cache, the one query (T = 1) sees all of it and itself.
    """
    query_BKTP, key_BKJP, value_BKJP = (x.transpose(1, 2) for x in (query_BTKP, key_BTKP, value_BTKP))
    if cache is not None:
        key_BKJP, value_BKJP = torch.cat((cache[0], key_BKJP), 2), torch.cat((cache[1], value_BKJP), 2)
    attention_BKTP = F.scaled_dot_product_attention(query_BKTP, key_BKJP, value_BKJP, is_causal=cache is None)
    return attention_BKTP.transpose(1, 2).flatten(2), (key_BKJP, value_BKJP)


def rotate(x_BLKP: Tensor, first: int = 0) -> Tensor:
    """Rotary positions first, first + 1, ...: the pair (p, p + P/2) at position t is turned by t * 10000^(-2p/P)."""
    half = x_BLKP.shape[-1] // 2
    # Angles in float32 at least: in bfloat16 neighbouring positions beyond 256 would coincide.
    dtype = torch.promote_types(x_BLKP.dtype, torch.float32)
    place_L = torch.arange(first, first + x_BLKP.shape[1], device=x_BLKP.device, dtype=dtype)
    pace_P = 10000.0 ** (-torch.arange(half, device=x_BLKP.device, dtype=dtype) / half)
    angle_L1P = (place_L[:, None] * pace_P)[:, None, :]
    cos_L1P, sin_L1P = angle_L1P.cos().to(x_BLKP.dtype), angle_L1P.sin().to(x_BLKP.dtype)
    left, right = x_BLKP.chunk(2, dim=-1)
    return torch.cat((left * cos_L1P - right * sin_L1P, right * cos_L1P + left * sin_L1P), dim=-1)


def check_heads(arch: str, heads: int, width: int) -> None:
    """UserError unless `heads` divides `width` into parts of even size, whose halves rotary positions pair."""
    check_divides(arch, "heads", heads, "width", width)
    if width // heads % 2:
        raise UserError(
            f"{arch}: rotary positions turn pairs, but width / heads = {width // heads} is odd; "
            "choose sizes where it is even."
        )
