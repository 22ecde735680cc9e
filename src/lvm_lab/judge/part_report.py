"""Everything that is said of one predictor on one part: gates, plain numbers, contrastive accuracy, the whole store.

Shape suffixes: W windows of the sample, B a slice of them, D vector dim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import means
from lvm_lab.judge.contrastive import contrastive_scores
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.five_cat import SLICE, measure_part
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.metrics import part_metrics
from lvm_lab.judge.predictions import predict
from lvm_lab.judge.results import PartScores
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.types import Predictor, Stats


@dataclass(frozen=True)
class PartReport:
    """scores: 5CAT's halves, None where the preset asks for none.

    paired: numbers a window by name, for paired tests between predictors on the same windows; empty where a
    prediction is not finite.
    """

    scores: PartScores | None
    metrics: dict[str, Any]
    contrastive: dict[str, Any]
    store: dict[str, Any]
    document_W: np.ndarray = field(repr=False)
    paired: dict[str, np.ndarray] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        return {
            "metrics": self.metrics,
            "contrastive": self.contrastive,
            "store": self.store,
            "five_cat": None if self.scores is None else self.scores.to_dict(),
        }


def report_part(
    predictor: Predictor, sample: Windows, stats: Stats, preset: Preset, part: str, device: str = "cpu"
) -> PartReport:
    """The report on all windows of a sample (see `sample_evenly`); `part` as in `measure_part`."""
    scores = None
    if preset.eval_windows:
        scores = measure_part(predictor, sample, preset, part, at_most=len(sample), device=device)
    metrics = part_metrics(predictor, sample, stats, resamples=preset.resamples, seed=preset.seed, device=device)
    if metrics["not_finite"] or len(sample) == 0:
        return PartReport(scores, metrics, {}, {}, sample.document_W, {})
    slices = [sample.select(slice(i, i + SLICE)) for i in range(0, len(sample), SLICE)]  # type: ignore[arg-type]
    unit_WD = np.concatenate([predict(predictor, some.context(), device=device)[1] for some in slices])
    target_WD = sample.vectors(sample.target_row_W)
    contrastive = contrastive_scores(unit_WD, sample, seed=preset.seed)
    store = store_scores(unit_WD, sample)
    columns = contrastive | {f"store/{name}": values for name, values in store.items()}
    numbers = means(columns, sample.document_W, resamples=preset.resamples, seed=preset.seed)
    paired = {
        "cos": cosines(unit_WD, target_WD),
        "mrr_unseen": retrieval_scores(unit_WD, sample)["mrr_unseen"],
        "across_documents": contrastive["across_documents"],
        "store_mrr_unseen": store["mrr_unseen"],
    }
    return PartReport(
        scores,
        metrics,
        {name: numbers[name].to_dict() for name in contrastive},
        {name: numbers[f"store/{name}"].to_dict() for name in store},
        sample.document_W,
        paired,
    )
