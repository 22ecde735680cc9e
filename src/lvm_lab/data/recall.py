"""How much of an exact search an index finds, and in what time.

Shape suffixes: Q queries, X rows that count for nothing to a query, K nearest rows, N rows of the store, D vector dim.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lvm_lab.data.exact import flat, nearest
from lvm_lab.data.index import NOTHING, blocks, search, unit
from lvm_lab.data.index_kind import Kind
from lvm_lab.data.rows import Rows

RANKS = (1, 10)
MOST = max(RANKS)
# A row within this of the last cosine that counts is as good as the row that an exact search returns.
TIE = 1e-6
# What is timed is the best of so many: the rest is the machine's other work.
REPEATS = 3
# Vectors that a batch of the timed searches has, and how many of them are searched one at a time.
BATCH, SINGLE = 256, 64
# Vectors whose mean is looked for beside single chunks.
MEAN_OF = 5


@dataclass(frozen=True)
class Queries:
    """Vectors to look for. without_QX: rows of the store that each is made of, which are no answer; -1: none."""

    unit_QD: np.ndarray
    without_QX: np.ndarray

    @classmethod
    def chunks(cls, vectors_ND: Rows, rows_Q: np.ndarray) -> Queries:
        """Chunks of the store themselves."""
        return cls(unit(vectors_ND[rows_Q]), rows_Q[:, None])

    @classmethod
    def means(cls, vectors_ND: Rows, rows_Q: np.ndarray, start_Q: np.ndarray) -> Queries:
        """The mean of a chunk and those before it, back to where its document begins: as near to a chunk as a
        prediction may be. start_Q: that beginning."""
        rows_QX = rows_Q[:, None] - np.arange(MEAN_OF)
        inside_QX = rows_QX >= start_Q[:, None]
        vectors_QXD = unit(vectors_ND[np.maximum(rows_QX, 0)]) * inside_QX[..., None]
        return cls(unit(vectors_QXD.sum(1)), np.where(inside_QX, rows_QX, NOTHING))

    @property
    def most(self) -> int:
        """How many rows have to be looked up to have enough that count."""
        return MOST + self.without_QX.shape[1]

    def counting(self, scores_QK: np.ndarray, rows_QK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first of ranked rows that the queries are not made of."""
        own_QK = (rows_QK[:, :, None] == self.without_QX[:, None, :]).any(2) | (rows_QK == NOTHING)
        order_QK = np.argsort(own_QK, axis=1, kind="stable")[:, :MOST]
        own_QK = np.take_along_axis(own_QK, order_QK, 1)
        rows_QK = np.where(own_QK, NOTHING, np.take_along_axis(rows_QK, order_QK, 1))
        return np.where(own_QK, -np.inf, np.take_along_axis(scores_QK, order_QK, 1)), rows_QK


@dataclass(frozen=True)
class Exact:
    """What an exact search finds: the cosines of the best rows that count."""

    queries: Queries
    scores_QK: np.ndarray

    def recall(self, rows_QK: np.ndarray, vectors_ND: Rows) -> dict[int, float | None]:
        """Of the k best rows, the share that is among the first k of others, by k; None where no query has so many. A
        row that is as near counts."""
        some_QKD = unit(vectors_ND[np.maximum(rows_QK, 0)])
        cosine_QK = np.einsum("qd,qkd->qk", self.queries.unit_QD, some_QKD)
        cosine_QK[rows_QK == NOTHING] = -np.inf
        least_QK = self.scores_QK - TIE
        shares: dict[int, float | None] = {}
        for k in RANKS:
            there = np.isfinite(least_QK[:, k - 1])
            hits_Q = (cosine_QK[:, :k] >= least_QK[:, k - 1 : k]).sum(1)
            shares[k] = float(hits_Q[there].mean() / k) if there.any() else None
        return shares


def exact(vectors_ND: Rows, groups: list[Queries]) -> list[Exact]:
    """Search every row for every group of queries, reading the store once."""
    most = max(queries.most for queries in groups)
    scores_QK, rows_QK = nearest(vectors_ND, np.concatenate([queries.unit_QD for queries in groups]), most)
    edges = np.cumsum([len(queries.unit_QD) for queries in groups])[:-1]
    ranked = zip(groups, np.split(scores_QK, edges), np.split(rows_QK, edges), strict=True)
    return [Exact(q, q.counting(scores[:, : q.most], rows[:, : q.most])[0]) for q, scores, rows in ranked]


def found_by(index: Any, vectors_ND: Rows, queries: Queries, rerank: int) -> np.ndarray:
    """rows_QK of an index for the queries."""
    return queries.counting(*search(index, vectors_ND, queries.unit_QD, queries.most, rerank))[1]


def tune(kind: Kind, index: Any, vectors_ND: Rows, truth: Exact, least: float) -> None:
    """Set the least effort whose recall of the ten nearest is `least`, or all of it where none reaches that."""
    for effort in kind.efforts(index):
        kind.set_effort(index, effort)
        share = truth.recall(found_by(index, vectors_ND, truth.queries, kind.rerank), vectors_ND)[MOST]
        if share is not None and share >= least:
            return


def rates(index: Any, vectors_ND: Rows, unit_QD: np.ndarray, rerank: int) -> dict[str, float]:
    """Queries a second, in batches and one at a time, for the ten nearest."""
    return _rates(unit_QD, lambda some_QD: search(index, vectors_ND, some_QD, MOST, rerank))


def flat_rates(vectors_ND: Rows, unit_QD: np.ndarray) -> dict[str, float]:
    """The same of an exact search. Only its products are timed, not the reading of the store, of which no more than a
    block is held."""
    seconds = {"batch": 0.0, "single": 0.0}
    count = {"batch": len(unit_QD), "single": len(unit_QD[:SINGLE])}
    for _, unit_ND in blocks(vectors_ND):
        of_block = _rates(unit_QD, partial(flat(unit_ND).search, k=min(MOST, len(unit_ND))))
        seconds = {key: seconds[key] + count[key] / rate for key, rate in of_block.items()}
    return {key: count[key] / seconds[key] for key in seconds}


def _rates(unit_QD: np.ndarray, look: Callable[[np.ndarray], Any]) -> dict[str, float]:
    single_QD = unit_QD[:SINGLE]
    return {
        "batch": len(unit_QD) / _seconds(unit_QD, BATCH, look),
        "single": len(single_QD) / _seconds(single_QD, 1, look),
    }


def _seconds(unit_QD: np.ndarray, batch: int, look: Callable[[np.ndarray], Any]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        for start in range(0, len(unit_QD), batch):
            look(unit_QD[start : start + batch])
        best = min(best, time.perf_counter() - began)
    return best
