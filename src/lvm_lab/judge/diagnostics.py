"""Whether a predictor's outputs lie as the encoder's vectors lie: moments, collapse, copying and diversity.

Sums over one prediction pass (judge/metrics.py makes it), and findings with what to look at next.

Shape suffixes: B rows of a slice, D vector dim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.config.thresholds import STD_RATIO
from lvm_lab.judge.bootstrap import finite
from lvm_lab.judge.cosines import normalise

# A share of the targets' own effective rank, and of their 1 - mean pairwise cosine.
COLLAPSED = 0.1
# Of a unit vector: a dimension that moves less than this says the same whatever the context.
MOVES = 0.01
# Mean squared deviation of unit vectors below which they are one vector and rounding.
NOTHING = 1e-9

HISTORY = ("last_margin", "gain_over_copy", "gain_over_mean", "mean_z", "unit_mean_z")
WITH_TARGET = ("effective_rank", "pairwise_cos", "diversity")


class Spread:
    """Mean, std and (if asked for) covariance of rows that come in slices.

    Sums run around the first row, so that rows which are nearly one vector cost no digits.
    """

    def __init__(self, dim: int, covariance: bool = False) -> None:
        self.count = 0
        self.origin_D = np.zeros(dim)
        self.sum_D, self.squares_D = np.zeros((2, dim))
        self.products_DD = np.zeros((dim, dim)) if covariance else None

    def add(self, x_BD: np.ndarray) -> None:
        if len(x_BD) == 0:
            return
        if self.count == 0:
            self.origin_D = x_BD[0].astype(np.float64)
        x_BD = x_BD - self.origin_D
        self.count += len(x_BD)
        self.sum_D += x_BD.sum(axis=0)
        self.squares_D += np.square(x_BD).sum(axis=0)
        if self.products_DD is not None:
            x32_BD = x_BD.astype(np.float32)
            self.products_DD += x32_BD.T @ x32_BD

    @property
    def mean_D(self) -> np.ndarray:
        return self.origin_D + self.sum_D / self.count

    @property
    def std_D(self) -> np.ndarray:
        """Over the rows themselves (not an estimate of more than them)."""
        return np.sqrt(np.maximum(self.squares_D / self.count - np.square(self.sum_D / self.count), 0))

    @property
    def effective_rank(self) -> float:
        """The participation ratio of the covariance's spectrum, (sum of l)^2 / sum of l^2: between 1 and D.

        D equal eigenvalues give D, a single one 1; rows that are all one vector give 0. Source: Gao et al. 2017, "A
        theory of multineuronal dimensionality, dynamics and measurement", eq. 4. It needs no eigenvalues: the sums
        are the trace and the squared Frobenius norm.
        """
        assert self.products_DD is not None
        shift_D = self.sum_D / self.count
        covariance_DD = self.products_DD / self.count - np.outer(shift_D, shift_D)
        power = float(np.trace(covariance_DD))
        return 0.0 if power < NOTHING else power**2 / float(np.square(covariance_DD).sum())

    @property
    def pairwise_cos(self) -> float:
        """The mean cosine of two different rows, for rows of unit length; NaN for one row."""
        if self.count < 2:
            return math.nan
        power = float((self.squares_D / self.count - np.square(self.sum_D / self.count)).sum())
        return 1 - max(power, 0.0) * self.count / (self.count - 1)


@dataclass(frozen=True)
class Moments:
    """Mean and std a dimension at a time, of the predictions and of the same windows' targets.

    raw and target in the encoder's own units; unit and unit_target after normalisation.
    """

    raw_mean_D: np.ndarray
    raw_std_D: np.ndarray
    target_mean_D: np.ndarray
    target_std_D: np.ndarray
    unit_mean_D: np.ndarray
    unit_std_D: np.ndarray
    unit_target_mean_D: np.ndarray
    unit_target_std_D: np.ndarray


class Outputs:
    """What one pass leaves behind of predictions and targets: their spreads."""

    def __init__(self, dim: int) -> None:
        self.raw, self.target = Spread(dim), Spread(dim)
        self.unit, self.unit_target = Spread(dim, covariance=True), Spread(dim, covariance=True)

    def add(self, raw_BD: np.ndarray, unit_BD: np.ndarray, target_BD: np.ndarray) -> None:
        self.raw.add(raw_BD)
        self.target.add(target_BD)
        self.unit.add(normalise(unit_BD))
        self.unit_target.add(normalise(target_BD))

    @property
    def moments(self) -> Moments:
        spreads = (self.raw, self.target, self.unit, self.unit_target)
        return Moments(*(x_D for spread in spreads for x_D in (spread.mean_D, spread.std_D)))

    def numbers(self) -> dict[str, Any]:
        """Ready for JSON.

        mean_z, unit_mean_z: mean over D of |mean of the predictions - mean of the targets| / std of the targets.
        std_ratio, unit_std_ratio: std of the predictions over std of the targets (5%, median, 95% over D).
        effective_rank, pairwise_cos, diversity (share of dimensions with a std above .01 of unit length): of the
        unit predictions, beside those of the targets.
        """
        numbers: dict[str, Any] = {}
        for prefix, mine, theirs in (("", self.raw, self.target), ("unit_", self.unit, self.unit_target)):
            alive_D = theirs.std_D > 1e-6
            away_D = np.abs(mine.mean_D - theirs.mean_D)[alive_D] / theirs.std_D[alive_D]
            ratio_D = mine.std_D[alive_D] / theirs.std_D[alive_D]
            low, median, high = np.percentile(ratio_D, [5, 50, 95]) if alive_D.any() else [math.nan] * 3
            numbers[f"{prefix}mean_z"] = finite(away_D.mean()) if alive_D.any() else None
            numbers[f"{prefix}std_ratio"] = {"low": finite(low), "median": finite(median), "high": finite(high)}
        spreads = {"prediction": self.unit, "target": self.unit_target}
        numbers["effective_rank"] = {name: spread.effective_rank for name, spread in spreads.items()}
        numbers["pairwise_cos"] = {name: finite(spread.pairwise_cos) for name, spread in spreads.items()}
        numbers["diversity"] = {name: float((spread.std_D > MOVES).mean()) for name, spread in spreads.items()}
        return numbers


def findings(numbers: dict[str, Any]) -> list[dict[str, str]]:
    """What looks wrong in these numbers (those of judge/metrics.py): its name, what was measured, what to check next.

    collapsed: an effective rank, or 1 - mean pairwise cosine, below a tenth of the targets'. copying: on average
    clearly nearer to the last context vector than to the target. below a constant: the cosine's gain over the training
    part's mean vector is clearly below 0. flattened, blown up: median std ratio of raw outside STD_RATIO.
    """
    alarms: list[dict[str, str]] = []

    def add(name: str, measured: str, check: str) -> None:
        alarms.append({"name": name, "measured": measured, "check": check})

    rank, alike = numbers["effective_rank"], numbers["pairwise_cos"]
    few = rank["prediction"] < COLLAPSED * rank["target"]
    narrow = alike["target"] is not None and 1 - alike["prediction"] < COLLAPSED * (1 - alike["target"])
    if few or narrow:
        add(
            "collapsed",
            f"effective rank {rank['prediction']:.1f} against the targets' {rank['target']:.1f}, "
            f"mean pairwise cosine {_show(alike['prediction'])} against {_show(alike['target'])}",
            "the learning rate, whether the context reaches the head, and a loss with negatives or a variance term",
        )
    margin = numbers["last_margin"]
    # A constant is as near to the one as to the other, and copies neither.
    if not alarms and _below_zero(margin):
        add(
            "copying",
            f"cosine to the target less that to the last vector {margin['value']:+.3f}, "
            f"gain over copy-last {_show(numbers['gain_over_copy']['value'])}",
            "the data gate, the offset curve, and the last vector among the loss's negatives",
        )
    gain = numbers["gain_over_mean"]
    if _below_zero(gain):
        add(
            "below a constant",
            f"cosine {gain['value']:+.3f} against always saying the training part's mean vector",
            "retrieval numbers (a contrastive loss ranks and keeps no distance), loss=hybrid, and the number of epochs",
        )
    ratio = numbers["std_ratio"]["median"]
    flat, wide = STD_RATIO
    measured = f"median std of raw is {ratio or 0:.2f} of the encoder's; {flat} to {wide} are wanted"
    if ratio is not None and ratio < flat:
        add(
            "flattened",
            measured,
            "the moment term's weight before a decoder gets raw: the mean of what may come next is flatter than any",
        )
    if ratio is not None and ratio > wide:
        add(
            "blown up",
            measured,
            "whether a term of the loss holds raw to the encoder's scale (moment or mse; terms of unit alone leave it "
            "free), the learning rate, and trainer.optim.clip",
        )
    return alarms


def history_row(numbers: dict[str, Any]) -> dict[str, Any]:
    """The diagnostics among these numbers as one flat row; alarms by name."""
    if "alarms" not in numbers:
        return {"not_finite": numbers["not_finite"]}
    row: dict[str, Any] = {
        name: numbers[name]["value"] if isinstance(numbers[name], dict) else numbers[name] for name in HISTORY
    }
    for name in ("std_ratio", "unit_std_ratio"):
        row[name] = numbers[name]["median"]
        row |= {f"{name}_{end}": numbers[name][end] for end in ("low", "high")}
    for name in WITH_TARGET:
        row[name], row[f"{name}_target"] = numbers[name]["prediction"], numbers[name]["target"]
    return row | {"alarms": [finding["name"] for finding in numbers["alarms"]]}


def _below_zero(number: dict[str, Any]) -> bool:
    """Clearly so; by the value alone where there is no interval."""
    return bool((number["interval"][1] if number["interval"] else number["value"]) < 0)


def _show(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
