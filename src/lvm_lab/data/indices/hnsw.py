"""HNSW (Malkov and Yashunin 2018): whole vectors, and a graph of neighbours that a search walks along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import faiss
import numpy as np

from lvm_lab.data.index_kind import Kind

# Candidates that a walk keeps, from the fewest that ten neighbours need.
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Hnsw(Kind):
    """links: neighbours of a vector in the graph. build: candidates that are kept while it is made. ef: while it is
    searched; null: the fewest that reach the recall that is asked for."""

    effort = "ef"
    # FAISS draws levels by the logarithm of this, and reads wild memory at 1.
    least: ClassVar[dict[str, int]] = {"links": 2}
    links: int = 32
    build: int = 100
    ef: int | None = None

    def sample_size(self, rows: int, dim: int) -> int:
        return 0

    def make(self, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        index = faiss.IndexHNSWFlat(dim, self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.build
        if self.ef:
            self.set_effort(index, self.ef)
        return index

    def efforts(self, index: Any) -> list[int]:
        return [] if self.ef else list(EFFORTS)

    def set_effort(self, index: Any, effort: int) -> None:
        index.hnsw.efSearch = effort

    def settings(self, index: Any) -> dict[str, Any]:
        return {"ef": int(index.hnsw.efSearch)}
