"""Intervals of means by resampling documents: windows of one document are not independent of each other.

An interval is the value plus and minus Student's t times the bootstrap's standard error. Percentiles of the resamples
would be too narrow: with 5 to 30 documents they cover 79 to 93% where 95% is said (docs/5cat.md has the simulation).

Shape suffixes: W windows, N documents, M columns, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEVEL = 0.95
# Weights of this many (resample, document) pairs are held at once.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Number:
    """A mean over windows, or a function of several, with its 95% interval over documents.

    effective: how many documents of equal size would say as much, (sum of sizes)^2 / sum of squared sizes (Kish 1965).
    samples_R: the value in every resample, so that differences can be paired.
    error: its standard error; NaN where fewer than two effective documents leave nothing to resample.
    """

    value: float
    error: float
    effective: float
    windows: int
    documents: int
    samples_R: np.ndarray = field(repr=False, compare=False)

    @property
    def low(self) -> float:
        return self.interval()[0]

    @property
    def high(self) -> float:
        return self.interval()[1]

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """value -+ t x error, with effective - 1 degrees of freedom; NaN where there is no error."""
        if math.isnan(self.error):
            return math.nan, math.nan
        # SciPy comes in only now: it takes half a second, and tables of what is measured already need none of it.
        from scipy.special import stdtrit

        half = float(stdtrit(self.effective - 1, (1 + level) / 2)) * self.error
        return self.value - half, self.value + half

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": finite(self.value),
            "interval": None if math.isnan(self.error) else [finite(x) for x in self.interval()],
            "error": finite(self.error),
            "effective": finite(self.effective),
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
    with np.errstate(invalid="ignore"):
        effective_M = np.square(counts_NM.sum(0)) / np.square(counts_NM).sum(0)
    return {
        name: _number(
            value_M[m],
            samples_RM[:, m],
            float(effective_M[m]),
            int(counts_NM[:, m].sum()),
            int((counts_NM[:, m] > 0).sum()),
        )
        for m, name in enumerate(columns)
    }


def combine(function: Callable[..., Any], *numbers: Number) -> Number:
    """A function of numbers from the same resamples, such as a margin: it takes floats or arrays of one length."""
    return _number(
        float(function(*(n.value for n in numbers))),
        np.asarray(function(*(n.samples_R for n in numbers)), dtype=np.float64),
        min(n.effective for n in numbers),
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
    """Two-sided p-value of a difference of 0, by the t of its interval: below .05 where that leaves 0 out.

    1 for two predictors that are equal on every window, 0 for a difference that no document changes. NaN where fewer
    than two effective documents leave nothing to resample.
    """
    if math.isnan(difference.error):
        return math.nan
    if difference.error == 0:
        return float(difference.value == 0)
    from scipy.special import stdtr

    return 2 * float(stdtr(difference.effective - 1, -abs(difference.value) / difference.error))


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


def _number(value: float, samples_R: np.ndarray, effective: float, windows: int, documents: int) -> Number:
    known = samples_R[~np.isnan(samples_R)]
    error = math.nan
    if effective > 2 - 1e-9 and len(known):
        # Resampling n of n documents spreads sqrt((n - 1) / n) times as far as drawing new ones does.
        error = float(known.std()) * math.sqrt(effective / (effective - 1))
    return Number(float(value), error, effective, windows, documents, samples_R)
