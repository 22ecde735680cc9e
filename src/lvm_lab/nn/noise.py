"""Noise that is new in every training step and always the same outside of training, unless draws are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def normal(*shape: int, like: Tensor, training: bool) -> Tensor:
    """Standard normal noise of `like`'s device and dtype; outside of training from a fixed seed, on the CPU."""
    if training:
        return torch.randn(shape, device=like.device, dtype=like.dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like)


def uniform(*shape: int, like: Tensor, training: bool) -> Tensor:
    """Uniform in [0, 1), otherwise as `normal`."""
    if training:
        return torch.rand(shape, device=like.device)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)).to(like.device)


@dataclass(frozen=True)
class Draws:
    """What a generative head draws a prediction with: the mean of `count` draws, each with noise of its own.

    temperature: what the noise of training is scaled by, or what logits are divided by; above 0. generator: of the CPU.
    """

    temperature: float
    count: int
    generator: torch.Generator

    def normal(self, *shape: int, like: Tensor) -> Tensor:
        """Normal noise whose spread is the temperature, of `like`'s device and dtype."""
        return (self.temperature * torch.randn(shape, generator=self.generator)).to(like)

    def gumbel(self, *shape: int, like: Tensor) -> Tensor:
        """Noise with which the largest of logits is a draw of their softmax."""
        return gumbel(torch.rand(shape, generator=self.generator)).to(like)


def gumbel(chance: Tensor) -> Tensor:
    """Gumbel noise of uniform noise."""
    return -(-chance.clamp_min(1e-20).log()).log()
