"""Which kernels Mamba-2 computes with: mamba_ssm's and causal_conv1d's fused ones on a CUDA device, or plain PyTorch.

The choice changes no number beyond rounding and belongs to a process, not to a model: a checkpoint knows nothing of it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Choice = Literal["auto", "fused", "plain"]
# On one H100 (torch 2.11, bfloat16, width 512) the fused kernels took 5 times the plain path's time at a context of 5
# and 1 / 2.5 of it at 256; on logarithmic axes the line between the two crosses 1 at 61. See docs/devices.md.
FUSED_FROM = 64

_choice: Choice = "auto"


class Kernels(NamedTuple):
    """scan: mamba_ssm's mamba_chunk_scan_combined. convolution: causal_conv1d_fn, or None where it does not import."""

    scan: Callable[..., Any]
    convolution: Callable[..., Any] | None


def choose(choice: Choice) -> None:
    """Set what every Mamba-2 of this process computes with from here on.

    auto: the fused kernels on contexts from FUSED_FROM on. fused, plain: one of them whatever the length; without a
    CUDA device, without the packages or in float64 all of them are plain.
    """
    global _choice
    assert choice in get_args(Choice)
    _choice = choice


def kernels_for(x_BLH: Tensor) -> Kernels | None:
    """The fused kernels for an input of this device, dtype and length; None for the plain path."""
    if not _on_cuda(x_BLH) or x_BLH.dtype == torch.float64:
        return None
    kernels = installed()
    length = x_BLH.shape[1]
    fused = kernels is not None and (_choice == "fused" or (_choice == "auto" and length >= FUSED_FROM))
    _say(fused, _choice, length, kernels)
    return kernels if fused else None


@functools.cache
def installed() -> Kernels | None:
    """The fused kernels, or None where mamba_ssm's scan does not import."""
    scan = _imported("mamba_ssm.ops.triton.ssd_combined", "mamba_chunk_scan_combined")
    return None if scan is None else Kernels(scan, _imported("causal_conv1d", "causal_conv1d_fn"))


def _imported(module: str, name: str) -> Callable[..., Any] | None:
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError, OSError, RuntimeError):  # the last two: built for another torch or driver
        return None
    return function


def _on_cuda(x: Tensor) -> bool:
    return x.is_cuda


@functools.cache
def _say(fused: bool, choice: Choice, length: int, kernels: Kernels | None) -> None:
    """Log a path once for each length and choice."""
    if fused:
        assert kernels is not None
        path = "the fused kernels" if kernels.convolution else "the fused scan, without causal-conv1d's convolution"
    else:
        path = "plain PyTorch" if kernels else "plain PyTorch, since mamba-ssm does not import"
    log.info("Mamba-2 computes contexts of %d with %s (device.kernels=%s)", length, path, choice)
