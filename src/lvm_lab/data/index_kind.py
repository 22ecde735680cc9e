"""What a kind of index is: a FAISS index made for so many unit vectors, and how hard it looks.

Shape suffixes: N vectors of a sample, D vector dim.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import faiss
import numpy as np

from lvm_lab.errors import UserError

# Of a sample for k-means: fewer a centroid and FAISS warns that it is too few, more gives nothing.
FEWEST_A_CENTROID, A_CENTROID = 39, 50
# Centroids of one byte of a product quantiser.
CODES = 256


class Kind(ABC):
    """An option of conf/index/. Vectors have unit length, and their inner product is their cosine.

    effort: the argument that says how much of the index one search looks at, if any. Where it is null, the least is
    taken that finds enough. rerank: so many times as many rows as asked for are looked up, and their cosines computed
    from the store.
    """

    effort: ClassVar[str | None] = None
    # By argument, the least that it may be where that is not 1.
    least: ClassVar[dict[str, int]] = {"rerank": 0}
    rerank: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < (least := self.least.get(name, 1)):
                raise UserError(f"index.{name}={value} does not fit; set {least} or more.")

    @abstractmethod
    def sample_size(self, rows: int, dim: int) -> int:
        """How many vectors it is trained on, for a store of so many; 0: it is not trained."""

    @abstractmethod
    def make(self, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        """A trained FAISS index by inner product, empty yet, for so many rows. Raises UserError for too few of them."""

    def efforts(self, index: Any) -> list[int]:
        """What may be tried as effort, the least first."""
        return []

    def set_effort(self, index: Any, effort: int) -> None:
        """Have an index look so hard; the number is written with it."""
        raise NotImplementedError

    def settings(self, index: Any) -> dict[str, Any]:
        """What the index has where a setting is null, by the settings' names."""
        return {}


class Inverted(Kind):
    """Vectors in lists around centroids, of which a search reads the nearest."""

    effort = "probes"
    lists: int | None
    probes: int | None

    def number_of_lists(self, rows: int) -> int:
        return self.lists or max(1, min(round(4 * rows**0.5), rows // FEWEST_A_CENTROID))

    def sample_size(self, rows: int, dim: int) -> int:
        return A_CENTROID * self.number_of_lists(rows)

    def trained(self, factory: str, rows: int, dim: int, sample_ND: np.ndarray, seed: int) -> Any:
        """factory: what follows the number of lists in FAISS's words."""
        lists = self.number_of_lists(rows)
        if len(sample_ND) < lists:
            raise UserError(
                f"index.lists={lists} are more than the {len(sample_ND)} vectors that they are learned from; set fewer."
            )
        index: Any = faiss.index_factory(dim, f"IVF{lists},{factory}", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        # Its own words for few vectors would stand between the lab's.
        index.cp.min_points_per_centroid = 1
        if isinstance(index, faiss.IndexIVFPQ):
            index.pq.cp.min_points_per_centroid = 1
        index.train(sample_ND)
        if self.probes:
            self.set_effort(index, self.probes)
        return index

    def efforts(self, index: Any) -> list[int]:
        if self.probes:
            return []
        # Steps of a third: what reaches a recall is then at most a third more than needed.
        steps = {min(index.nlist, round((4 / 3) ** power)) for power in range(40)}
        return sorted(steps)

    def set_effort(self, index: Any, effort: int) -> None:
        index.nprobe = effort

    def settings(self, index: Any) -> dict[str, Any]:
        return {"lists": int(index.nlist), "probes": int(index.nprobe)}
