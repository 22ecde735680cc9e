"""What several devices need to compute one loss over the global batch."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def gather(x: Tensor, dim: int = 0) -> Tensor:
    """Every device's entries along `dim` in rank order, with gradient to each; the tensor itself on one device.

    In validation every device sees all windows, so there is nothing to gather.
    """
    if not (dist.is_available() and dist.is_initialized() and torch.is_grad_enabled()):
        return x
    return torch.cat(list(all_gather(x.contiguous())), dim=dim)


def rank() -> int:
    """This device's place among those gathered."""
    gathering = dist.is_available() and dist.is_initialized() and torch.is_grad_enabled()
    return dist.get_rank() if gathering else 0
