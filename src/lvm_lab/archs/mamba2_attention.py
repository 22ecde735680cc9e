"""Mamba-2 with a few attention layers: every so many layers one asks the whole context instead of a state.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, N state size, P dim of a head, W taps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.attention import RotaryAttention, check_heads
from lvm_lab.nn.blocks import InputProjection, check_sizes
from lvm_lab.nn.mamba2 import Layer, Mixer, Stack, check_mixer


class Mamba2Attention(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L (Dao and Gu 2024, arXiv:2405.21060, 9.2.3).

    Every layer is x + mixer(norm(x)). The mixer of layers attention_every, 2 * attention_every, ... is causal attention
    with rotary positions, that of all others Mamba-2's; the paper found about one in ten to be best for text. A state
    of fixed size forgets, and a few layers that look back exactly make up for it.

    Short contexts: the recurrence begins at the first vector that is read, from a state of zero, and the places of the
    attention are relative (rotary).

    dim, context_length: D and the usual L, which sets nothing here; width: H; heads: of the attention; state: N;
    head_dim: P of Mamba-2; conv: W taps; chunk: places of a chunk. Raises UserError for sizes below 1, dropout outside
    [0, 1), sizes that do not divide, or fewer layers than attention_every, where no attention would be left.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 128,
        layers: int = 6,
        attention_every: int = 6,
        heads: int = 4,
        state: int = 32,
        head_dim: int = 32,
        expand: int = 2,
        conv: int = 4,
        groups: int = 1,
        chunk: int = 64,
        dropout: float = 0.0,
    ) -> None:
        arch = "mamba2_attention"
        check_sizes(arch, dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        check_sizes(arch, attention_every=attention_every, heads=heads)
        mixer_sizes = {"state": state, "head_dim": head_dim, "expand": expand, "conv": conv, "groups": groups}
        check_mixer(arch, width=width, chunk=chunk, **mixer_sizes)
        check_heads(arch, heads, width)
        if layers < attention_every:
            raise UserError(
                f"{arch}: with layers = {layers} and attention_every = {attention_every} no layer would be attention; "
                "set it to layers or less, or take arch=mamba2."
            )
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        mixers: list[nn.Module] = []
        for i in range(1, layers + 1):
            attention, mamba = i % attention_every == 0, (width, state, head_dim, expand, conv, groups, chunk)
            mixers.append(RotaryAttention(width, heads) if attention else Mixer(*mamba))
        with torch.no_grad():
            for mixer in mixers:  # as in mamba2: the residual stream's variance is then independent of depth
                out: Any = mixer.out if isinstance(mixer, RotaryAttention) else mixer.out_proj
                out.weight /= math.sqrt(layers)
        self.stack = Stack(width, [Layer(width, mixer, dropout) for mixer in mixers])

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.stack(self.input(x_BLD))
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """One more vector; the states of the Mamba-2 layers keep their size, those of the attention layers grow."""
        return self.stack.step(self.input(x_BD[:, None])[:, 0], state)
