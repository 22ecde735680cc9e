"""One predictor on one part: its gates' halves, plain numbers, contrastive accuracy and rank in the whole store.

Shape suffixes: W windows of the sample, B a slice of them, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge.bootstrap import means
from lvm_lab.judge.contrastive import contrastive_scores
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.diagnostics import Moments
from lvm_lab.judge.five_cat import SLICE, measure_part
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.metrics import part_metrics_and_moments
from lvm_lab.judge.predictions import predict
from lvm_lab.judge.results import PartScores
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.types import Predictor, Stats


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

    paired: numbers a window by name, for tests between predictors on the same windows of these documents.
    """

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

    def to_dict(self) -> dict[str, Any]:
        """The plain numbers, with the halves as `five_cat`; `contrastive` and `store` where they were wanted."""
        report = self.metrics | {"five_cat": None if self.scores is None else self.scores.to_dict()}
        if self.retrieval is not None:
            report |= {"contrastive": self.retrieval.contrastive, "store": self.retrieval.store}
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
) -> PartReport:
    """What is wanted of a part's windows, all on the sample that `sample_evenly` draws by the preset's seed.

    The gates draw it themselves, since the old tool (`5cat=lnsp_compat`) has other windows for each of them. part:
    `ood` is held against the OOD thresholds, any other name against VAL's.
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
    retrieval = _retrieval(predictor, sample, preset, device) if measures.retrieval else None
    return PartReport(scores, metrics, moments, retrieval)


def _retrieval(predictor: Predictor, sample: Windows, preset: Preset, device: str) -> Retrieval:
    unit_WD = np.empty((len(sample), sample.dim), dtype=np.float32)
    for positions, windows in sample.slices(SLICE):
        raw_BD, unit_WD[positions] = predict(predictor, windows.context(), device=device)
        if not (np.isfinite(raw_BD).all() and np.isfinite(unit_WD[positions]).all()):
            return Retrieval()
    if len(sample) == 0:
        return Retrieval()
    target_WD = sample.vectors(sample.target_row_W)
    contrastive = contrastive_scores(unit_WD, sample, seed=preset.seed)
    store = store_scores(unit_WD, sample)
    columns = contrastive | {f"store/{name}": values for name, values in store.items()}
    numbers = means(columns, sample.resampled_W, resamples=preset.resamples, seed=preset.seed)
    paired = {
        "cos": cosines(unit_WD, target_WD),
        "mrr_unseen": retrieval_scores(unit_WD, sample)["mrr_unseen"],
        "across_documents": contrastive["across_documents"],
        "store_mrr_unseen": store["mrr_unseen"],
    }
    return Retrieval(
        {name: numbers[name].to_dict() for name in contrastive},
        {name: numbers[f"store/{name}"].to_dict() for name in store},
        paired,
        sample.resampled_W,
    )
