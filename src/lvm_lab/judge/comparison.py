"""One predictor against others on the same windows: paired tests, and skill over what is trivial.

Shape suffixes: R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvm_lab.judge.bootstrap import Number, combine, finite, p_value
from lvm_lab.judge.metrics import lifts
from lvm_lab.judge.results import PartScores

# Of these numbers a perfect predictor has 1. A margin's best is less: neighbouring vectors are alike.
PERFECT_IS_ONE = (
    "A/cos",
    "B/r1",
    "B/r5",
    "B/mrr",
    "B/r1_unseen",
    "B/r5_unseen",
    "B/mrr_unseen",
    "D/rollout",
)


@dataclass(frozen=True)
class Paired:
    """How much higher one predictor scores than another.

    p: two-sided, of no difference; NaN below two documents, and where the difference describes and tests nothing.
    """

    difference: Number
    p: float

    def to_dict(self) -> dict[str, Any]:
        return self.difference.to_dict() | {"p": finite(self.p)}


def paired(model: PartScores, other: PartScores) -> dict[str, Paired]:
    """Every number of the model less the other's, with its interval over documents and its p-value.

    One test of many: `holm` corrects for how many there are. Raises ValueError for scores of different windows.
    """
    return {name: Paired(number, p_value(number)) for name, number in lifts(model, other).items()}


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p-values of several tests so that the chance of a single false alarm among them stays below each (Holm 1979).

    The smallest of n is multiplied by n, the next by n - 1 and so on, none below the one before it. NaN stays NaN and
    counts as no test.
    """
    known = sorted((value, name) for name, value in p.items() if not math.isnan(value))
    corrected, highest = dict(p), 0.0
    for place, (value, name) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - place) * value))
        corrected[name] = highest
    return corrected


@dataclass(frozen=True)
class Skill:
    """(model - best trivial) / (1 - best trivial). over: the name of the best trivial baseline; baseline: its value."""

    number: Number
    over: str
    baseline: float

    def to_dict(self) -> dict[str, Any]:
        return self.number.to_dict() | {"over": self.over, "baseline": finite(self.baseline)}


def skill(model: PartScores, trivial: Mapping[str, PartScores]) -> dict[str, Skill]:
    """The share of the way from the best trivial baseline to perfect that the model goes, for numbers of which 1 is
    perfect: 0 is no better than the best of them, below 0 worse.

    Which is the best is decided anew in every resample, so that the interval holds what choosing it is worth. NaN where
    the best is perfect already. Raises ValueError for scores of different windows, and where `trivial` is empty.
    """
    if not trivial:
        raise ValueError("skill needs a trivial baseline to be measured from")
    for scores in trivial.values():
        lifts(model, scores)
    mine, theirs = model.numbers(), {name: scores.numbers() for name, scores in trivial.items()}
    shares = {}
    for key in PERFECT_IS_ONE:
        others = {name: numbers[key] for name, numbers in theirs.items() if key in numbers}
        if key not in mine or not others:
            continue
        over = max(others, key=lambda name: others[name].value)
        shares[key] = Skill(combine(_skill, mine[key], *others.values()), over, others[over].value)
    return shares


def _skill(model_R: Any, *trivial_R: Any) -> Any:
    best_R = np.maximum.reduce(trivial_R)
    left_R = np.asarray(1 - best_R)
    share_R = np.full(left_R.shape, np.nan)
    np.divide(model_R - best_R, left_R, out=share_R, where=left_R > 1e-9)
    return share_R
