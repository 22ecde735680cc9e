"""IVF-PQ (Jegou et al. 2011): some bytes a vector, in lists; the best are ranked again by the store's own vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.data.index_kind import CODES, Inverted
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Pq(Inverted):
    """bytes: of a vector, each the code of as many dims; null: one for eight dims. lists, probes: as of `Ivf`. rerank:
    as of `Kind`; 0: cosines are those of the codes."""

    lists: int | None = None
    probes: int | None = None
    bytes: int | None = None
    rerank: int = 10

    def sample_size(self, rows: int, dim: int) -> int:
        return max(super().sample_size(rows, dim), CODES * A_BYTE)

    def make(self, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        size = self.bytes or max(1, dim // 8)
        if dim % size:
            raise UserError(f"index.bytes={size} does not divide {dim} dims; set one that does.")
        if len(sample_ND) < CODES:
            raise UserError(
                f"index=pq learns {CODES} codes from {len(sample_ND)} vectors; take index=flat for a store so small."
            )
        # np: without polysemous codes, which serve a filter by Hamming distance and take a minute to train.
        return self.trained(f"PQ{size}np", rows, dim, sample_ND, seed)

    def settings(self, index: Any) -> dict[str, Any]:
        return super().settings(index) | {"bytes": int(index.pq.M)}


# Vectors of a sample for each code of a byte.
A_BYTE = 50
