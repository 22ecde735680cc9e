"""An exact search over a store's vectors, which needs no index and holds no more of the store than a block.

Shape suffixes: B vectors that are looked for, K rows that are nearest, N rows of the store, D vector dim.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from lvm_lab.data.index import NOTHING, blocks, unit
from lvm_lab.data.rows import Rows


def nearest(vectors_ND: Rows, vectors_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """scores_BK, rows_BK of every row that there is, as `lvm_lab.data.index.StoreIndex.search` gives them."""
    unit_BD = unit(vectors_BD)
    scores_BK: np.ndarray = np.full((len(unit_BD), k), -np.inf, np.float32)
    rows_BK: np.ndarray = np.full((len(unit_BD), k), NOTHING, np.int64)
    for first, unit_ND in blocks(vectors_ND):
        block_scores_BK, block_rows_BK = flat(unit_ND).search(unit_BD, min(k, len(unit_ND)))
        scores_BK = np.concatenate([scores_BK, block_scores_BK], axis=1)
        rows_BK = np.concatenate([rows_BK, block_rows_BK + first], axis=1)
        order_BK = np.argsort(-scores_BK, axis=1, kind="stable")[:, :k]
        scores_BK, rows_BK = (np.take_along_axis(x_BK, order_BK, 1) for x_BK in (scores_BK, rows_BK))
    return scores_BK, rows_BK


def flat(unit_ND: np.ndarray) -> Any:
    """FAISS's index that compares every vector."""
    index = faiss.IndexFlatIP(unit_ND.shape[1])
    index.add(unit_ND)
    return index
