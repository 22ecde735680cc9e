"""Noise that is new in every training step and always the same outside of training."""

from __future__ import annotations

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
