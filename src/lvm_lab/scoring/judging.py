"""Scores a finished run once: five gates, val, test and OOD numbers, and the baselines beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge.bootstrap import finite
from lvm_lab.judge.comparison import holm, paired, skill
from lvm_lab.judge.data_gate import examine
from lvm_lab.judge.five_cat import measure
from lvm_lab.judge.metrics import Moments, part_metrics_and_moments
from lvm_lab.judge.results import CURVE, FiveCat
from lvm_lab.scoring.baselines import baselines, digest, trivial_names
from lvm_lab.types import Predictor

log = logging.getLogger(__name__)


def gate(parts: Parts) -> dict[str, Any]:
    """The data gate and the arrow of time of the training part; see judge/data_gate.py."""
    return _examined.get(digest(parts), lambda: examine(parts.train, parts.val))


def judge(predictor: Predictor, parts: Parts, preset: Preset, device: str) -> FiveCat:
    return measure(predictor, parts.val, parts.ood, preset, documents=parts.documents, device=device)


def numbers(
    predictor: Predictor, windows: Windows | None, parts: Parts, preset: Preset, device: str
) -> tuple[dict[str, Any], Moments | None]:
    """Plain numbers on one part, and the moments of every dimension; empty where there is no such part."""
    if windows is None or len(windows) == 0:
        return {}, None
    sample = sample_evenly(windows, preset.eval_windows or preset.max_windows, preset.seed)
    return part_metrics_and_moments(
        predictor, sample, parts.stats, resamples=preset.resamples, seed=preset.seed, device=device
    )


def sizes(parts: Parts) -> dict[str, Any]:
    """How many documents the store has, and how many windows of how many documents each part."""
    windows = {"train": parts.train, "val": parts.val, "test": parts.test, "ood": parts.ood}
    return {"documents": parts.documents} | {
        name: {"windows": len(part), "documents": len(np.unique(part.document_W))}
        for name, part in windows.items()
        if part is not None
    }


@dataclass(frozen=True)
class Beside:
    """What a model had to beat, ready for JSON: see docs/run-folder.md."""

    baselines: dict[str, Any]
    skill: dict[str, Any]
    not_fitted: dict[str, str]


def beside(model: FiveCat, parts: Parts, preset: Preset, cache: Path, device: str) -> Beside:
    """Every baseline judged on the model's windows, with the model's lift over it on val and its skill over the
    trivial ones; all paired by window and resample."""
    judged, not_fitted = _judged_baselines(parts, preset, cache, device)
    tests = {
        name: {key: test for key, test in paired(model.val, other.val).items() if not CURVE.match(key)}
        for name, other in judged.items()
    }
    keys = dict.fromkeys(key for found in tests.values() for key in found)
    corrected = {key: holm({name: found[key].p for name, found in tests.items() if key in found}) for key in keys}
    rows = {
        name: summary(other)
        | {
            "model_lift_val": {
                key: test.to_dict() | {"p_holm": finite(corrected[key][name])} for key, test in tests[name].items()
            }
        }
        for name, other in judged.items()
    }
    trivial = {name: judged[name] for name in trivial_names(preset.baselines) if name in judged}
    shares = {"val": skill(model.val, {name: other.val for name, other in trivial.items()})}
    if model.ood is not None:
        shares["ood"] = skill(model.ood, {name: other.ood for name, other in trivial.items() if other.ood is not None})
    told = {part: {key: share.to_dict() for key, share in found.items()} for part, found in shares.items()}
    return Beside(rows, told, not_fitted)


def _judged_baselines(
    parts: Parts, preset: Preset, cache: Path, device: str
) -> tuple[dict[str, FiveCat], dict[str, str]]:
    """Every baseline's judgement by name, and why others have none."""

    def made() -> tuple[dict[str, FiveCat], dict[str, str]]:
        not_fitted: dict[str, str] = {}
        found = baselines(parts, cache, device, preset.baselines, not_fitted)
        return {name: judge(baseline, parts, preset, device) for name, baseline in found.items()}, not_fitted

    ood = [] if parts.ood is None else parts.ood.target_row_W.tolist()
    return _judged.get(digest(parts, asdict(preset), device, ood), made)


def summary(judged: FiveCat) -> dict[str, Any]:
    """A judgement in a line of a table: the verdict and each part's point estimates."""
    return {
        "passed": judged.passed,
        "verdict": judged.verdict,
        "gates": {letter: gate.state for letter, gate in judged.gates.items()},
        "val": judged.val.values(curve=True),
        "ood": judged.ood.values(curve=True) if judged.ood else {},
    }


V = TypeVar("V")


class _Last(Generic[V]):
    """The value of the last key. The runs of a sweep follow one another in one process, most of them on equal data."""

    def __init__(self) -> None:
        self.known: dict[str, V] = {}

    def get(self, key: str, make: Callable[[], V]) -> V:
        if key not in self.known:
            self.known = {key: make()}
        return self.known[key]


_judged: _Last[tuple[dict[str, FiveCat], dict[str, str]]] = _Last()
_examined: _Last[dict[str, Any]] = _Last()
