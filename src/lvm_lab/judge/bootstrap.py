"""Intervals of means by resampling documents: windows of one document are not independent of each other.

Shape suffixes: W windows, N documents, M columns, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Weights of this many (resample, document) pairs are held at once.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Number:
    """A mean over windows, or a function of several, with its 95% interval over documents.

    low, high: NaN where fewer than two documents leave nothing to resample.
    samples_R: the value in every resample, so that differences can be paired.
    """

    value: float
    low: float
    high: float
    windows: int
    documents: int
    samples_R: np.ndarray = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": finite(self.value),
            "interval": None if math.isnan(self.low) else [finite(self.low), finite(self.high)],
            "windows": self.windows,
            "documents": self.documents,
        }


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def means(
    columns: Mapping[str, np.ndarray], document_W: np.ndarray, *, resamples: int = 1000, seed: int | Sequence[int] = 0
) -> dict[str, Number]:
    """The mean of every column over the windows where it is not NaN, resampling whole documents.

    Equal documents and seed give equal resamples, so that numbers of several calls may be combined.
    """
    if not columns:
        return {}
    _, document_W = np.unique(document_W, return_inverse=True)
    total = int(document_W.max()) + 1 if len(document_W) else 0
    sums_NM, counts_NM = np.zeros((2, total, len(columns)))
    for m, values_W in enumerate(columns.values()):
        known_W = ~np.isnan(values_W)
        sums_NM[:, m] = np.bincount(document_W[known_W], values_W[known_W], total)
        counts_NM[:, m] = np.bincount(document_W[known_W], minlength=total)
    with np.errstate(invalid="ignore"):
        value_M = sums_NM.sum(0) / counts_NM.sum(0)
    samples_RM = _resample(sums_NM, counts_NM, resamples, seed)
    return {
        name: _number(value_M[m], samples_RM[:, m], int(counts_NM[:, m].sum()), int((counts_NM[:, m] > 0).sum()))
        for m, name in enumerate(columns)
    }


def combine(function: Callable[..., Any], *numbers: Number) -> Number:
    """A function of numbers from the same resamples, such as a margin: it takes floats or arrays of one length."""
    return _number(
        float(function(*(n.value for n in numbers))),
        np.asarray(function(*(n.samples_R for n in numbers)), dtype=np.float64),
        min(n.windows for n in numbers),
        min(n.documents for n in numbers),
    )


def difference(a: Number, b: Number) -> Number:
    """a - b: paired if both come from the same resamples, else of two independent samples."""
    return combine(lambda x, y: x - y, a, b)


def paired_difference(
    a_W: np.ndarray, b_W: np.ndarray, document_W: np.ndarray, *, resamples: int = 1000, seed: int = 0
) -> Number:
    """How much higher one predictor scores than another on the same windows; NaN in either leaves a window out."""
    return means({"difference": a_W - b_W}, document_W, resamples=resamples, seed=seed)["difference"]


def p_value(difference: Number) -> float:
    """Two-sided bootstrap p-value of a difference of 0: twice the smaller share of resamples at or beyond it.

    The difference itself counts as one more resample, so that p is never 0 and 1 for two equal predictors (Davison and
    Hinkley 1997, section 4.2). NaN where fewer than two documents leave nothing to resample.
    """
    if math.isnan(difference.low):
        return math.nan
    known = difference.samples_R[~np.isnan(difference.samples_R)]
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + beyond) / (1 + len(known)))


def _resample(sums_NM: np.ndarray, counts_NM: np.ndarray, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    total = len(sums_NM)
    rng = np.random.default_rng(seed)
    samples_RM = np.full((resamples, sums_NM.shape[1]), np.nan)
    step = max(1, BLOCK // max(total, 1))
    for start in range(0, resamples if total else 0, step):
        size = min(step, resamples - start)
        place = rng.integers(total, size=(size, total)) + total * np.arange(size)[:, None]
        weights_RN = np.bincount(place.ravel(), minlength=size * total).reshape(size, total).astype(np.float64)
        with np.errstate(invalid="ignore"):
            samples_RM[start : start + size] = (weights_RN @ sums_NM) / (weights_RN @ counts_NM)
    return samples_RM


def _number(value: float, samples_R: np.ndarray, windows: int, documents: int) -> Number:
    known = samples_R[~np.isnan(samples_R)]
    low, high = np.percentile(known, [2.5, 97.5]) if documents > 1 and len(known) else (math.nan, math.nan)
    return Number(float(value), float(low), float(high), windows, documents, samples_R)
