"""The Large Concept Model's base: a causal decoder with RMSNorm, rotary positions and SwiGLU.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.archs._attention import Cache, RotaryAttention, check_heads
from lvm_lab.archs._blocks import GatedMLP, InputProjection, check_sizes
from lvm_lab.archs._streaming import step_layers


class LCMBase(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Paper: LCM team 2024, arXiv:2412.08821, section 2.3.1. Its post-net is the head's place; its normaliser is
    `normaliser=robust`. The layer norm behind the pre-net is ours: it lets vectors of any scale in.

    dim, context_length: D and the usual L, which sets nothing here; width: H; dropout: on both branches of a layer.
    Raises UserError for sizes below 1, dropout outside [0, 1), heads that do not divide width or heads of odd size.
    """

    causal: bool = True
    arch = "lcm_base"

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 256,
        layers: int = 3,
        heads: int = 4,
        ff_mult: float = 2.0,
        dropout: float = 0.0,
    ) -> None:
        inner = round(ff_mult * width)
        sizes = {"dim": dim, "context_length": context_length, "width": width, "layers": layers, "heads": heads}
        check_sizes(self.arch, dropout=dropout, **sizes, **{"ff_mult * width": inner})
        check_heads(self.arch, heads, width)
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        self.layers = nn.ModuleList(_Layer(width, heads, inner, dropout) for _ in range(layers))
        self.norm_out = nn.RMSNorm(width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.input(x_BLD)
        for layer in self.layers:
            hidden_BLH = layer(hidden_BLH)
        hidden_BLH = self.norm_out(hidden_BLH)
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[Cache] | None = None) -> tuple[Tensor, list[Cache]]:
        """One more vector; the state is each layer's keys and values, and grows with every step."""
        hidden_BH, state = step_layers(self.layers, self.input(x_BD[:, None])[:, 0], state)
        hidden_BH = self.norm_out(hidden_BH)
        return hidden_BH, state


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(width)
        self.attention = RotaryAttention(width, heads)
        self.norm_mlp = nn.RMSNorm(width)
        self.mlp = GatedMLP(width, inner)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BLH: Tensor) -> Tensor:
        return self._finish(hidden_BLH, self.attention(self.norm_attention(hidden_BLH)))

    def step(self, hidden_BH: Tensor, state: Cache | None) -> tuple[Tensor, Cache]:
        out_BH, cache = self.attention.step(self.norm_attention(hidden_BH), state)
        return self._finish(hidden_BH, out_BH), cache

    def _finish(self, hidden_H: Tensor, out_H: Tensor) -> Tensor:
        hidden_H = hidden_H + self.dropout(out_H)
        hidden_H = hidden_H + self.dropout(self.mlp(self.norm_mlp(hidden_H)))
        return hidden_H
