"""Gate E: whether the prediction is as good out of domain, at equal internal coherence of the context.

Shape suffixes: B windows, L context length, D vector dim.
"""

from __future__ import annotations

import numpy as np

from lvm_lab.config.thresholds import NORMAL
from lvm_lab.judge.predictions import normalise

LOW, HIGH = NORMAL
FEWEST_WINDOWS, FEWEST_DOCUMENTS = 30, 10
BINS = ("low", "normal", "high")


def coherence(context_BLD: np.ndarray) -> np.ndarray:
    """The mean cosine of adjacent context vectors; NaN for a context of one."""
    if context_BLD.shape[1] < 2:
        return np.full(len(context_BLD), np.nan)
    unit_BLD = normalise(context_BLD)
    return np.einsum("bld,bld->bl", unit_BLD[:, 1:], unit_BLD[:, :-1]).mean(axis=1)


def coherence_bins(cos_B: np.ndarray, coherence_B: np.ndarray) -> dict[str, np.ndarray]:
    """cos(prediction, target) by bin (NaN outside it), the bins' shares as 0 and 1, and the coherence itself."""
    known_B = ~np.isnan(coherence_B)
    inside = {
        "low": coherence_B < LOW,
        "normal": (coherence_B >= LOW) & (coherence_B <= HIGH),
        "high": coherence_B > HIGH,
    }
    columns = {name: np.where(inside_B, cos_B, np.nan) for name, inside_B in inside.items()}
    columns |= {f"share_{name}": np.where(known_B, inside_B, np.nan) for name, inside_B in inside.items()}
    return columns | {"coherence": coherence_B}
