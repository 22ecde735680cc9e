"""Predictors on one ground held against each other: lifts over baselines, skill, and tests against the best model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lvm_lab.config.presets import Preset
from lvm_lab.judge.bootstrap import finite, p_value, paired_difference
from lvm_lab.judge.comparison import Paired, Skill, holm, paired, skill
from lvm_lab.judge.following import GROUP
from lvm_lab.judge.results import CURVE
from lvm_lab.scoring.ground import kind_of
from lvm_lab.scoring.judging import Judgement


@dataclass(frozen=True)
class Tested:
    """A paired test, with its p-value corrected for how many predictors were tested alike (Holm)."""

    test: Paired
    p_holm: float

    def to_dict(self) -> dict[str, Any]:
        return self.test.to_dict() | {"p_holm": finite(self.p_holm)}


@dataclass(frozen=True)
class Comparison:
    """One number of one predictor less that of another (`against`), window by window."""

    part: str
    name: str
    against: str
    number: str
    tested: Tested

    def to_dict(self) -> dict[str, Any]:
        names = {"part": self.part, "name": self.name, "against": self.against, "number": self.number}
        return names | self.tested.to_dict()


def lifts(model: Judgement, baselines: Mapping[str, Judgement]) -> dict[str, dict[str, Tested]]:
    """By baseline and number: the model less the baseline on VAL, paired by window and resample.

    A baseline is a fixed reference, so that p-values are given; the model's checkpoint was chosen on VAL, and what
    choosing among its epochs is worth is in its numbers.
    """
    mine = model.scores("val")
    theirs = {name: baseline.scores("val") for name, baseline in baselines.items()}
    tests = {
        name: {key: test for key, test in paired(mine, scores).items() if not CURVE.match(key)}
        | following(model, baselines[name], "val")
        for name, scores in theirs.items()
        if mine is not None and scores is not None
    }
    corrected: dict[str, dict[str, float]] = {}
    for key in dict.fromkeys(key for by_key in tests.values() for key in by_key):
        corrected[key] = holm({name: by_key[key].p for name, by_key in tests.items() if key in by_key})
    return {
        name: {key: Tested(test, corrected[key][name]) for key, test in by_key.items()}
        for name, by_key in tests.items()
    }


def following(one: Judgement, other: Judgement, part: str) -> dict[str, Paired]:
    """By `following/<name>`: one less the other, on the same targets; empty where either has none or they differ."""
    mine, theirs = one.following(part), other.following(part)
    if mine is None or theirs is None:
        return {}
    return {f"{GROUP}/{name}": Paired(number, p_value(number)) for name, number in mine.less(theirs).items()}


def skills(model: Judgement, trivial: Mapping[str, Judgement]) -> dict[str, dict[str, Skill]]:
    """By part and number: the share of the way from the best trivial baseline to perfect."""
    shares = {}
    for part in model.reports:
        mine = model.scores(part)
        theirs = {name: scores for name, one in trivial.items() if (scores := one.scores(part)) is not None}
        if mine is not None and theirs:
            shares[part] = skill(mine, theirs)
    return shares


def best_of(models: Mapping[str, Judgement]) -> str:
    """The model with the most VAL halves, then the largest VAL margin, then the best at `following`; the first named
    where VAL is not judged."""
    judged = {name: judgement for name, judgement in models.items() if judgement.scores("val") is not None}
    return max(judged, key=lambda name: judged[name].rank) if judged else next(iter(models))


def against(
    best: str, predictors: Mapping[str, Judgement], preset: Preset, chosen_on: str | None = None
) -> list[Comparison]:
    """Each predictor less the best model, on the same windows; corrected for how many were compared.

    chosen_on: the kind of part by whose numbers `best` is the best. What is compared there describes and tests nothing,
    since the highest of several is high by chance too: its p-values are NaN.
    """
    comparisons = []
    for part, report in predictors[best].reports.items():
        if report.retrieval is None:
            continue
        by_name = {
            name: _apart(judgement, predictors[best], part, preset)
            for name, judgement in predictors.items()
            if name != best
        }
        for number in dict.fromkeys(number for tests in by_name.values() for number in tests):
            tests = {name: tests[number] for name, tests in by_name.items() if number in tests}
            if kind_of(part) == chosen_on:
                tests = {name: replace(test, p=math.nan) for name, test in tests.items()}
            corrected = holm({name: test.p for name, test in tests.items()})
            comparisons += [
                Comparison(part, name, best, number, Tested(test, corrected[name])) for name, test in tests.items()
            ]
    return comparisons


def _apart(one: Judgement, other: Judgement, part: str, preset: Preset) -> dict[str, Paired]:
    """One less the other by number: those of the shared windows, and of `following`."""
    mine, theirs = one.reports[part].retrieval, other.reports[part].retrieval
    if mine is None or theirs is None or not mine.paired:
        return {}
    apart = {
        number: paired_difference(
            mine.paired[number], values_W, theirs.document_W, resamples=preset.resamples, seed=preset.seed
        )
        for number, values_W in theirs.paired.items()
    }
    tests = {number: Paired(difference, p_value(difference)) for number, difference in apart.items()}
    return tests | {key: test for key, test in following(one, other, part).items() if key == f"{GROUP}/mrr"}
