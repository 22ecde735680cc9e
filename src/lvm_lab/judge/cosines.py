"""Cosines as every judge takes them: in float64, and 0 for a zero vector; no torch.

Shape suffixes: N rows, D vector dim.
"""

from __future__ import annotations

import numpy as np


def normalise(x_ND: np.ndarray) -> np.ndarray:
    """Unit length along the last axis, in float64; a zero vector stays zero, so that its cosines are 0."""
    x_ND = x_ND.astype(np.float64)
    with np.errstate(invalid="ignore"):
        norm_N = np.sqrt(np.einsum("...d,...d->...", x_ND, x_ND))[..., None]
        return x_ND / np.where(norm_N > 0, norm_N, 1.0)


def cosines(a_ND: np.ndarray, b_ND: np.ndarray) -> np.ndarray:
    """Cosines along the last axis, in float64; leading axes broadcast."""
    with np.errstate(invalid="ignore"):
        return np.einsum("...d,...d->...", normalise(a_ND), normalise(b_ND))
