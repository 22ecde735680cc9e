"""What several devices need to compute one loss over the global batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


def gather(x: Tensor, dim: int = 0, ragged: bool = False) -> Tensor:
    """Every device's entries along `dim` in rank order, with gradient to each; the tensor itself on one device.

    ragged: devices may have different numbers of entries, along dim 0.
    In validation every device sees all windows, so there is nothing to gather.
    """
    if not _gathering():
        return x
    if ragged:
        assert dim == 0, "ragged entries lie along the first dim"
        counts = _Gather.apply(torch.tensor([len(x)], device=x.device)).flatten().tolist()
        x = F.pad(x, (*[0, 0] * (x.ndim - 1), 0, max(counts) - len(x)))
        parts = _Gather.apply(x.contiguous()).unbind()
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return torch.cat(list(_Gather.apply(x.contiguous()).unbind()), dim=dim)


def share(rows: int, like: Tensor) -> Tensor | float:
    """This device's rows over the mean of all devices'; 1 on one device.

    Devices' losses and gradients are averaged, each counting alike: times this, a mean over a device's own rows becomes
    one over all rows, and what is computed from all rows on every device stays what it is.
    """
    if not _gathering():
        return 1.0
    return rows * dist.get_world_size() / summed(torch.tensor(float(rows), device=like.device))


def summed(x: Tensor) -> Tensor:
    """The sum of every device's `x`, without gradient; `x` itself on one device."""
    if not _gathering():
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


def rank() -> int:
    """This device's place among those gathered."""
    return dist.get_rank() if _gathering() else 0


def _gathering() -> bool:
    return dist.is_available() and dist.is_initialized() and torch.is_grad_enabled()


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums every device's gradient for this device's entries."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gathered = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, x)
        return torch.stack(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone()
        dist.all_reduce(summed)
        return summed[dist.get_rank()]
