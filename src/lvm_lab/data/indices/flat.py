"""Every vector is compared: exact, and as slow as the store is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from lvm_lab.data.index_kind import Kind


@dataclass(frozen=True)
class Flat(Kind):
    """Vectors as they are, in float32."""

    def sample_size(self, rows: int, dim: int) -> int:
        return 0

    def make(self, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        return faiss.IndexFlatIP(dim)
