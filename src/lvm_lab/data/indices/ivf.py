"""IVF-Flat: whole vectors in lists around the centroids of k-means, of which a search reads the nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.data.index_kind import Inverted


@dataclass(frozen=True)
class Ivf(Inverted):
    """lists: null: four times the square root of the store's rows. probes: lists that a search reads; null: the fewest
    that reach the recall that is asked for."""

    lists: int | None = None
    probes: int | None = None

    def make(self, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        return self.trained("Flat", rows, dim, sample_ND, seed)
