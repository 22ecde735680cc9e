"""The contextualiser of the two-tower Large Concept Model; the denoiser tower is its head."""

from __future__ import annotations

from lvm_lab.archs.lcm_base import LCMBase


class LCMTwoTower(LCMBase):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH`: the layers of lcm_base, whose states head=two_tower reads.

    Paper: LCM team 2024, arXiv:2412.08821, section 2.3.3, with 5 layers of width 2048 here and 13 in the denoiser.

    Short contexts: places are relative (rotary), as in lcm_base; the head reads the states that there are.

    needs_head: the only one that makes it whole. Sizes and errors as in LCMBase.
    """

    arch = "lcm_two_tower"
    needs_head = "two_tower"

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
        super().__init__(dim, context_length, width=width, layers=layers, heads=heads, ff_mult=ff_mult, dropout=dropout)
