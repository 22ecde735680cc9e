"""Mamba-2: the selective state space recurrence in its dual form (SSD), with a gate and a short convolution.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, N state size, P dim of a head, W taps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lvm_lab.nn.blocks import InputProjection, check_sizes
from lvm_lab.nn.mamba2 import Layer, Mixer, Stack, State, check_mixer


class Mamba2(nn.Module):
    """Causal backbone, `forward(x_BLD) -> hidden_BLH` for any length L (Dao and Gu 2024, arXiv:2405.21060).

    `stack` has the parameter names of transformers' Mamba2Model, and each `stack.layers[i].mixer` those of
    mamba_ssm's Mamba2, so `stack.state_dict()` loads into both (into the first all but its `embeddings.weight`).
    With groups > 1 the gated norm is taken per group, as mamba_ssm does and transformers does not.

    Everything is plain PyTorch. On CUDA tensors below float64 the kernels of mamba_ssm and causal_conv1d compute long
    contexts where they are installed, with the same parameters (`nn.kernels`, `device.kernels`).

    Short contexts: no places are counted; the recurrence begins at the first vector that is read, from a state of zero,
    and the convolution reads zeros before it.

    dim, context_length: D and the usual L, which sets nothing here; width: H; state: N; head_dim: P; conv: W taps;
    chunk: places of a chunk, the quadratic form is used up to it. Raises UserError for sizes below 1, dropout outside
    [0, 1), head_dim that does not divide expand * width, or groups that do not divide the heads.
    """

    causal: bool = True

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        width: int = 192,
        layers: int = 2,
        state: int = 32,
        head_dim: int = 32,
        expand: int = 2,
        conv: int = 4,
        groups: int = 1,
        chunk: int = 64,
        dropout: float = 0.0,
    ) -> None:
        check_sizes("mamba2", dropout=dropout, dim=dim, context_length=context_length, width=width, layers=layers)
        mixer_sizes = {"state": state, "head_dim": head_dim, "expand": expand, "conv": conv, "groups": groups}
        check_mixer("mamba2", width=width, chunk=chunk, **mixer_sizes)
        super().__init__()
        self.width = width
        self.input = InputProjection(dim, width)
        mixers = [Mixer(width, state, head_dim, expand, conv, groups, chunk) for _ in range(layers)]
        with torch.no_grad():
            for mixer in mixers:  # keeps the residual stream's variance independent of depth, as mamba_ssm does
                mixer.out_proj.weight /= math.sqrt(layers)
        self.stack = Stack(width, [Layer(width, mixer, dropout) for mixer in mixers])

    def forward(self, x_BLD: Tensor) -> Tensor:
        hidden_BLH: Tensor = self.stack(self.input(x_BLD))
        return hidden_BLH

    def step(self, x_BD: Tensor, state: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """One more vector; the state, of constant size, is each layer's last convolution inputs and SSD state."""
        return self.stack.step(self.input(x_BD[:, None])[:, 0], state)
