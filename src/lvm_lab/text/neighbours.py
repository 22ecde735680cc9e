"""Cosines between neighbours in a sequence of vectors."""

from __future__ import annotations

import numpy as np

# Encoders give a text's vector to some digits more than these, whatever texts are encoded with it.
DIGITS = 4


def cosines(vectors_ND: np.ndarray) -> np.ndarray:
    """The cosine of each vector and the next, (N - 1,) float64, rounded so that the company that a text was encoded in
    does not show."""
    rows_ND = vectors_ND.astype(np.float64)
    norm_N = np.linalg.norm(rows_ND, axis=1)
    product_P = np.einsum("pd,pd->p", rows_ND[:-1], rows_ND[1:])
    return np.round(product_P / np.maximum(norm_N[:-1] * norm_N[1:], 1e-12), DIGITS)
