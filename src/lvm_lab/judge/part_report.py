"""One predictor on one part: its gates' halves, plain numbers, `following`, contrastive accuracy, rank in the store.

Shape suffixes: W windows of the sample, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge.bootstrap import means
from lvm_lab.judge.contrastive import contrastive_scores
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.diagnostics import Moments
from lvm_lab.judge.five_cat import measure_part
from lvm_lab.judge.following import Following, Targets, measure_following, units
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.metrics import part_metrics_and_moments
from lvm_lab.judge.results import PartScores
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.types import Predictor, Stats

UNSEEN = ("mrr", "r1", "r5")


@dataclass(frozen=True)
class Measures:
    """Which numbers of a part are wanted.

    five_cat: the halves of the gates. plain: those of judge/metrics.py. retrieval: contrastive accuracy, the rank
    among all chunks of the store, and what paired tests between predictors need.
    """

    five_cat: bool = True
    plain: bool = True
    retrieval: bool = False

    def __bool__(self) -> bool:
        return self.five_cat or self.plain or self.retrieval


@dataclass(frozen=True)
class Retrieval:
    """Means over windows, ready for JSON; empty where a prediction is not finite, for a mean of the rest would look
    like a score.

    unseen: the rank within the document without what the longest reader of the table has read. paired: numbers a window
    by name, for tests between predictors on the same windows of these documents.
    """

    unseen: dict[str, Any] = field(default_factory=dict)
    contrastive: dict[str, Any] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)
    paired: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    document_W: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64), repr=False)


@dataclass(frozen=True)
class PartReport:
    """What was measured on one part; None, or empty, what was not."""

    scores: PartScores | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    moments: Moments | None = None
    retrieval: Retrieval | None = None
    following: Following | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain numbers, with the halves as `five_cat` and `following`; `unseen`, `contrastive` and `store` where
        they were wanted."""
        report = self.metrics | {"five_cat": None if self.scores is None else self.scores.to_dict()}
        if self.following is not None:
            report["following"] = self.following.to_dict()
        if self.retrieval is not None:
            names = ("unseen", "contrastive", "store")
            report |= {name: getattr(self.retrieval, name) for name in names}
        return report


def windows_judged(preset: Preset) -> int:
    """How many windows a part at most; a preset that judges no gate (0) still has plain numbers."""
    return preset.eval_windows or preset.max_windows


def report_part(
    predictor: Predictor,
    windows: Windows,
    stats: Stats,
    preset: Preset,
    part: str,
    measures: Measures,
    device: str = "cpu",
    *,
    targets: Targets | None = None,
    longest: int | None = None,
) -> PartReport:
    """What is wanted of a part's windows, all on the sample that `sample_evenly` draws by the preset's seed.

    The gates draw it themselves, since the old tool (`5cat=lnsp_compat`) has other windows for each of them. part:
    `ood` is held against the OOD thresholds, any other name against VAL's. targets: what `following` is measured on;
    None: it is not. longest: how many vectors the longest reader of the table reads; None: the windows' context_length.
    """
    scores = None
    if measures.five_cat and preset.eval_windows:
        scores = measure_part(predictor, windows, preset, part, at_most=preset.eval_windows, device=device)
    sample = sample_evenly(windows, windows_judged(preset), preset.seed)
    metrics: dict[str, Any] = {}
    moments = None
    if measures.plain:
        metrics, moments = part_metrics_and_moments(
            predictor, sample, stats, resamples=preset.resamples, seed=preset.seed, device=device
        )
    longest = sample.context_length if longest is None else longest
    retrieval = _retrieval(predictor, sample, longest, preset, device) if measures.retrieval else None
    following = None if targets is None else measure_following(predictor, targets, preset, device)
    return PartReport(scores, metrics, moments, retrieval, following)


def _retrieval(predictor: Predictor, sample: Windows, longest: int, preset: Preset, device: str) -> Retrieval:
    unit_WD = units(predictor, sample, device)
    if not len(sample) or not np.isfinite(unit_WD).all():
        return Retrieval()
    target_WD = sample.vectors(sample.target_row_W)
    groups = unseen_scores(unit_WD, sample, longest)
    groups["contrastive"] = contrastive_scores(unit_WD, sample, seed=preset.seed)
    columns = {f"{group}/{name}": values for group, by_name in groups.items() for name, values in by_name.items()}
    numbers = means(columns, sample.resampled_W, resamples=preset.resamples, seed=preset.seed)
    paired = {
        "cos": cosines(unit_WD, target_WD),
        "mrr_unseen": groups["unseen"]["mrr"],
        "across_documents": groups["contrastive"]["across_documents"],
        "store_mrr_unseen": groups["store"]["mrr_unseen"],
    }
    by_group = {
        group: {name: numbers[f"{group}/{name}"].to_dict() for name in by_name} for group, by_name in groups.items()
    }
    return Retrieval(**by_group, paired=paired, document_W=sample.resampled_W)


def unseen_scores(unit_WD: np.ndarray, windows: Windows, longest: int) -> dict[str, dict[str, np.ndarray]]:
    """Ranks whose candidates leave out what the longest reader of a table has read, whatever this predictor read.

    unseen: mrr, r1 and r5 within the document, with chance. store: those of `store_scores`.
    """
    read = replace(windows, context_length=longest)
    within = retrieval_scores(unit_WD, read)
    unseen = {f"{c}{name}": within[f"{c}{name}_unseen"] for name in UNSEEN for c in ("", "chance_")}
    return {"unseen": unseen, "store": store_scores(unit_WD, read)}
