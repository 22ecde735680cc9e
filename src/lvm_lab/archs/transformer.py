"""Transformer: causal self-attention with rotary positions, pre-norm.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, K heads, P dim of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.archs._blocks import GatedMLP, InputProjection, check_divides, check_sizes
from lvm_lab.errors import UserError


class Transformer(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Attention: Vaswani et al. 2017, arXiv:1706.03762; rotary positions: Su et al. 2021, arXiv:2104.09864 (relative,
    hence no table that ends at context_length); feed-forward: SwiGLU of inner size ff_mult * width.

    dim, context_length: D and the usual L, which sets nothing here; width: H; dropout: on both branches of a layer.
    Raises UserError for sizes below 1, dropout outside [0, 1), heads that do not divide width or heads of odd size.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 256,
        layers: int = 2,
        heads: int = 4,
        ff_mult: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        check_sizes(
            "transformer",
            dropout=dropout,
            dim=dim,
            context_length=context_length,
            width=width,
            layers=layers,
            heads=heads,
        )
        check_sizes("transformer", **{"ff_mult * width": inner})
        check_divides("transformer", "heads", heads, "width", width)
        if width // heads % 2:
            raise UserError(
                f"transformer: rotary positions turn pairs, but width / heads = {width // heads} is odd; "
                "choose sizes where it is even."
            )
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.layers = nn.ModuleList(_Layer(width, heads, inner, dropout) for _ in range(layers))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        hidden_BLH = hidden_BLH + self.dropout(self._attend(self.norm_attention(hidden_BLH)))
        hidden_BLH = hidden_BLH + self.dropout(self.mlp(self.norm_mlp(hidden_BLH)))
        return hidden_BLH

    def _attend(self, x_BLH: Tensor) -> Tensor:
        batch, length, width = x_BLH.shape
        qkv = self.qkv(x_BLH).view(batch, length, 3 * self.heads, width // self.heads)
        qk, value_BLKP = qkv.split((2 * self.heads, self.heads), dim=2)
        query_BLKP, key_BLKP = _rotate(qk).chunk(2, dim=2)
        mixed_BKLP = F.scaled_dot_product_attention(
            query_BLKP.transpose(1, 2), key_BLKP.transpose(1, 2), value_BLKP.transpose(1, 2), is_causal=True
        )
        out_BLH: Tensor = self.out(mixed_BKLP.transpose(1, 2).reshape(batch, length, width))
        return out_BLH


def _rotate(x_BLKP: Tensor) -> Tensor:
    """Rotary positions: the pair (p, p + P/2) at position t is turned by t * 10000^(-2p/P)."""
    half = x_BLKP.shape[-1] // 2
    # Angles in float32 at least: in bfloat16 neighbouring positions beyond 256 would coincide.
    dtype = torch.promote_types(x_BLKP.dtype, torch.float32)
    place_L = torch.arange(x_BLKP.shape[1], device=x_BLKP.device, dtype=dtype)
    pace_P = 10000.0 ** (-torch.arange(half, device=x_BLKP.device, dtype=dtype) / half)
    angle_L1P = (place_L[:, None] * pace_P)[:, None, :]
    cos_L1P, sin_L1P = angle_L1P.cos().to(x_BLKP.dtype), angle_L1P.sin().to(x_BLKP.dtype)
    first, second = x_BLKP.chunk(2, dim=-1)
    return torch.cat((first * cos_L1P - second * sin_L1P, second * cos_L1P + first * sin_L1P), dim=-1)
