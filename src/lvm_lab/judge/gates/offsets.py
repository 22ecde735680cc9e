"""Gate A: which of the neighbours the prediction looks like.

Shape suffixes: B windows, D vector dim, K offsets.
"""

from __future__ import annotations

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.predictions import cosines

OFFSETS = tuple(range(-3, 4))
SLICE = 512


def offset_cosines(unit_BD: np.ndarray, windows: Windows, shift: int = 0) -> dict[str, np.ndarray]:
    """cos(prediction, vector at offset k + shift) by name `k-3` to `k+3`; NaN where a neighbour is missing.

    shift: 0 counts k from the last context vector, 1 from the target (the old tool's way).
    """
    rows_BK = np.stack([windows.rows(k + shift) for k in OFFSETS], axis=1)
    found_BK = np.full(rows_BK.shape, np.nan)
    if not windows.isolated:
        whole = np.flatnonzero(windows.has(OFFSETS[0] + shift, OFFSETS[-1] + shift))
        # Seven neighbours in float64 for a slice at a time stay within the processor's cache.
        for chosen in np.split(whole, range(SLICE, len(whole), SLICE)):
            found_BK[chosen] = cosines(unit_BD[chosen, None], windows.vectors(rows_BK[chosen]))
    return {f"k{k:+d}": found_BK[:, i] for i, k in enumerate(OFFSETS)}
