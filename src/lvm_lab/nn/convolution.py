"""Causal convolutions of each channel by itself, as shifted products or by Fourier transforms.

Shape suffixes: B batch, L length, H channels, W taps, F frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECT_UP_TO = 64


def causal_convolution(x_BLH: Tensor, kernel_LH: Tensor) -> Tensor:
    """y_t = sum over j <= t of kernel_(t-j) x_j for each channel, in the dtype of x.

    Up to 64 places one shifted product a lag, which no transform beats at L = 5; beyond them zero-padded Fourier
    transforms.
    """
    if x_BLH.shape[1] <= DIRECT_UP_TO:
        return short_convolution(x_BLH, kernel_LH.to(x_BLH.dtype))
    return fourier_convolution(x_BLH, kernel_LH)


def short_convolution(x_BLH: Tensor, kernel_WH: Tensor) -> Tensor:
    """The same with a kernel of few taps, of which the first weighs the place itself."""
    y_BLH = x_BLH * kernel_WH[0]
    for lag in range(1, min(len(kernel_WH), x_BLH.shape[1])):
        y_BLH = y_BLH + F.pad(x_BLH[:, :-lag] * kernel_WH[lag], (0, 0, lag, 0))
    return y_BLH


def fourier_convolution(x_BLH: Tensor, kernel_LH: Tensor) -> Tensor:
    """The same by Fourier transforms, zero-padded so that no end meets the beginning."""
    # A transform spreads its rounding over all places: in float32 the future would show in the seventh digit of the
    # past. MPS has no float64.
    wide = torch.float32 if x_BLH.device.type == "mps" else torch.float64
    length = x_BLH.shape[1]
    x_BFH = torch.fft.rfft(x_BLH.to(wide), n=2 * length, dim=1)
    kernel_FH = torch.fft.rfft(kernel_LH.to(wide), n=2 * length, dim=0)
    return torch.fft.irfft(x_BFH * kernel_FH, n=2 * length, dim=1)[:, :length].to(x_BLH.dtype)
