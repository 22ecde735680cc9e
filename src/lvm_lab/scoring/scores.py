"""Scores models beside the baselines that they have to beat, for training and for `evaluate` alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from lvm_lab.judge.comparison import Skill
from lvm_lab.judge.part_report import Measures
from lvm_lab.judge.verdict import put_together, unmeasured
from lvm_lab.reporting import words
from lvm_lab.scoring.baselines import baselines, digest, trivial_names
from lvm_lab.scoring.comparison import Comparison, Tested, against, best_of, lifts, skills
from lvm_lab.scoring.ground import KINDS, Ground, Kind
from lvm_lab.scoring.judging import Judgement, Scope, judge
from lvm_lab.scoring.last import Last
from lvm_lab.types import Predictor

LEARNED_ON = "the weights of the members were learned on one half of VAL, and the checkpoint was chosen on the other"
GATES_AND_NUMBERS, GATES_ALONE = Measures(), Measures(plain=False)


@dataclass(frozen=True)
class Purpose:
    """What is measured of models and of baselines. versus_best: test every predictor against the best model."""

    models: Scope
    baselines: Scope
    versus_best: bool = False


_judged: dict[Kind, Measures] = dict.fromkeys(KINDS, GATES_AND_NUMBERS)
_everything = Scope({kind: Measures(retrieval=True) for kind in KINDS}, speed=True)
# A run's test part is read once and chooses nothing; baselines, which were not chosen either, are not judged there.
TRAINING = Purpose(models=Scope(_judged), baselines=Scope({"val": GATES_ALONE, "ood": GATES_ALONE}))
EVALUATION = Purpose(models=_everything, baselines=_everything, versus_best=True)


@dataclass(frozen=True)
class Scores:
    """models, baselines, skill (by part): by name. lifts: each model's over each baseline, by number.

    not_fitted: the reason, for each baseline that this data cannot fit. best: the model that the others are compared
    with. ground: of those that read the most, where models read contexts of different lengths.
    """

    ground: Ground
    models: Mapping[str, Judgement]
    baselines: Mapping[str, Judgement]
    not_fitted: Mapping[str, str]
    skill: Mapping[str, Mapping[str, Mapping[str, Skill]]]
    best: str
    comparisons: list[Comparison] = field(default_factory=list)

    def to_result(self) -> dict[str, Any]:
        """The fields of result.json, of the best model (a run has one)."""
        model = self.models[self.best]
        lift = lifts(model, self.baselines)
        return {
            "five_cat": self._five_cat(model),
            **{kind: model.part(kind) for kind in KINDS},
            "baselines": {
                name: baseline.summary() | {"model_lift_val": _ready(lift[name])}
                for name, baseline in self.baselines.items()
                # Summaries are of VAL, and stand beside a model's.
                if model.verdict is not None
            },
            "skill": {part: _ready(shares) for part, shares in self.skill[self.best].items()},
            "not_fitted": dict(self.not_fitted),
        }

    @property
    def reads(self) -> list[int]:
        """How many vectors the models read, each length once."""
        return sorted({judgement.reads for judgement in self.models.values()})

    def _five_cat(self, model: Judgement) -> dict[str, Any]:
        if model.verdict is not None:
            return model.verdict.to_dict()
        mixing, preset = self.ground.parts.mixing, self.ground.preset
        if mixing is None or not preset.eval_windows:
            return {}
        ood = next((scores for name in self.ground.ood if (scores := model.scores(name))), None)
        judged = put_together(preset, unmeasured(preset, "val", LEARNED_ON), ood)
        # No number of documents would make a verdict of it.
        return replace(judged, reason=LEARNED_ON if judged.verdict == "undecided" else judged.reason).to_dict()

    def moments(self) -> dict[str, dict[str, np.ndarray]]:
        """The moments of every dimension by part, of the best model; without parts that have none."""
        reports = self.models[self.best].reports
        return {part: vars(report.moments) for part, report in reports.items() if report.moments is not None}

    def to_dict(self, facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """One data set of evaluation.json. facts: what a report says of each model beside its numbers."""
        models = [
            {"name": name, "kind": "model", **facts[name], **judgement.to_dict()}
            | {"skill": {part: _ready(shares) for part, shares in self.skill[name].items()}}
            for name, judgement in self.models.items()
        ]
        nothing = {"checkpoint": None, "params": None}
        others = [
            {"name": name, "kind": "baseline", **nothing, **judgement.to_dict()}
            for name, judgement in self.baselines.items()
        ]
        return {
            "documents": self.ground.parts.documents,
            "content": self.ground.parts.content,
            "columns": words.columns(self.reads, self.ground.judge_from),
            "parts": self.ground.sizes(),
            "predictors": models + others,
            "not_fitted": dict(self.not_fitted),
            "notes": list(self.ground.notes),
            "best": self.best,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }


# Models by name and the ground that they stand on; each is made when its turn comes, so that only one is in memory.
Group = tuple[Mapping[str, Callable[[], Predictor]], Ground]


def score(
    models: Mapping[str, Callable[[], Predictor]],
    ground: Ground,
    purpose: Purpose,
    device: str,
    announce: Callable[[str], None] = lambda name: None,
) -> Scores:
    """Every model, by name, and every baseline on one ground. announce: called with each predictor's name before it is
    judged."""
    return score_together([(models, ground)], purpose, device, announce)


def score_together(
    groups: Sequence[Group], purpose: Purpose, device: str, announce: Callable[[str], None] = lambda name: None
) -> Scores:
    """Models that read contexts of different lengths in one table: a group for each length, on grounds that share
    their windows (scoring/sharing.py). The baselines are of every length, and named by it where there are several."""
    models: dict[str, Judgement] = {}
    others: dict[str, Judgement] = {}
    not_fitted: dict[str, str] = {}
    skill: dict[str, Mapping[str, Mapping[str, Skill]]] = {}
    longest = max((ground for _, ground in groups), key=lambda ground: ground.context_length)
    several = len({ground.context_length for _, ground in groups}) > 1
    fitted: dict[int, Baselines] = {}
    for makers, ground in groups:
        own: dict[str, Judgement] = {}
        for name, make in makers.items():
            announce(name)
            own[name] = judge(make(), ground, _scope(purpose, ground), device, longest.context_length)
        if ground.context_length not in fitted:
            fitted[ground.context_length] = _judged_baselines(
                ground, purpose.baselines, device, announce, longest.context_length
            )
        baselines, reasons = fitted[ground.context_length]
        trivial = {name: baselines[name] for name in trivial_names(ground.preset.baselines) if name in baselines}
        skill |= {name: skills(judgement, trivial) for name, judgement in own.items()}
        models |= own
        ending = words.reading(ground.context_length) if several else ""
        others |= {name + ending: judgement for name, judgement in baselines.items()}
        not_fitted |= {name + ending: reason for name, reason in reasons.items()}
    best = best_of(models)
    compared = against(best, {**models, **others}, longest.preset, chosen_on="val") if purpose.versus_best else []
    return Scores(longest, models, others, not_fitted, skill, best, compared)


def _scope(purpose: Purpose, ground: Ground) -> Scope:
    if ground.parts.mixing is None:
        return purpose.models
    # VAL was learned on and chosen by: baselines alone are judged there.
    return replace(purpose.models, parts={kind: some for kind, some in purpose.models.parts.items() if kind != "val"})


Baselines = tuple[dict[str, Judgement], dict[str, str]]
_last: Last[Baselines] = Last()


def _judged_baselines(
    ground: Ground, scope: Scope, device: str, announce: Callable[[str], None], longest: int
) -> Baselines:
    """Every baseline's judgement by name, and why others have none; nothing where no gate is judged and nothing else
    is wanted of them."""
    preset = ground.preset
    if not preset.eval_windows and not any(measures.plain or measures.retrieval for measures in scope.parts.values()):
        return {}, {}

    def judged() -> Baselines:
        not_fitted: dict[str, str] = {}
        fitted = baselines(ground.parts, ground.cache, device, preset.baselines, not_fitted)
        judgements = {}
        for name, baseline in fitted.items():
            announce(name)
            judgements[name] = judge(baseline, ground, scope, device, longest)
        return judgements, not_fitted

    if scope.speed:
        # A time is not a function of the content.
        return judged()
    every = (ground.windows, ground.later)
    rows = [{name: windows.target_row_W.tolist() for name, windows in parts.items()} for parts in every]
    measures = {kind: asdict(wanted) for kind, wanted in scope.parts.items()}
    judged_on = [rows, ground.judge_from, longest, dict(ground.stores)]
    return _last.get(digest(ground.parts, asdict(preset), device, judged_on, measures), judged)


def _ready(numbers: Mapping[str, Skill | Tested]) -> dict[str, Any]:
    return {key: number.to_dict() for key, number in numbers.items()}
