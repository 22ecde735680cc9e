"""Transformer: causal self-attention with rotary positions, pre-norm.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.nn.attention import Cache, RotaryAttention, check_heads
from lvm_lab.nn.blocks import GatedMLP, ResidualStack, check_sizes, residual_mlp


class Transformer(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Attention: Vaswani et al. 2017, arXiv:1706.03762; rotary positions: Su et al. 2021, arXiv:2104.09864 (relative,
    hence no table that ends at context_length); feed-forward: SwiGLU of inner size ff_mult * width. The state of `step`
    is each layer's keys and values, and grows with every step.

    Short contexts: places are relative (rotary); only how far two vectors lie apart counts.

    dim, context_length: D and the usual L, which sets nothing here; width: H; dropout: on both branches of a layer.
    Raises UserError for sizes below 1, dropout outside [0, 1), heads that do not divide width or heads of odd size.
    """

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
        check_sizes("transformer", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes("transformer", heads=heads, **{"ff_mult * width": inner})
        check_heads("transformer", heads, width)
        super().__init__(dim, width, (_Layer(width, heads, inner, dropout) for _ in range(layers)))


class _Layer(RotaryAttention):
    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(width, heads)
        self.norm_attention = nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        return residual_mlp(self, hidden_BLH, super().forward(self.norm_attention(hidden_BLH)))

    def step(self, hidden_BH: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        out_BH, state = super().step(self.norm_attention(hidden_BH), state)
        return residual_mlp(self, hidden_BH, out_BH), state
