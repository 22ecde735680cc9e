"""The Large Concept Model's base: a causal decoder with RMSNorm, rotary positions and SwiGLU.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from torch import nn

from lvm_lab.nn.attention import RotaryAttention, check_heads
from lvm_lab.nn.blocks import ResidualLayer, ResidualStack, check_sizes


class LCMBase(ResidualStack):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L.

    Paper: LCM team 2024, arXiv:2412.08821, section 2.3.1. Its post-net is the head's place; its normaliser is
    `normaliser=robust`. The layer norm behind the pre-net is ours: it lets vectors of any scale in.
    The state of `step` is each layer's keys and values, and grows with every step.

    Short contexts: places are relative (rotary); only how far two vectors lie apart counts.

    dim, context_length: D and the usual L, which sets nothing here; width: H; dropout: on both branches of a layer.
    Raises UserError for sizes below 1, dropout outside [0, 1), heads that do not divide width or heads of odd size.
    """

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
        stack = (
            ResidualLayer("attention", RotaryAttention(width, heads), width, inner, dropout, nn.RMSNorm)
            for _ in range(layers)
        )
        super().__init__(dim, width, stack, nn.RMSNorm)
