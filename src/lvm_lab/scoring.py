"""Scores a finished run once: five gates, val, test and OOD numbers, and the baselines beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lvm_lab.data.parts import Parts
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge.baselines import CopyLast, GlobalMean, MeanOfContext, Ridge, fit_ridge
from lvm_lab.judge.five_cat import measure
from lvm_lab.judge.metrics import lifts, part_metrics
from lvm_lab.judge.presets import Preset
from lvm_lab.judge.results import FiveCat
from lvm_lab.types import Predictor


def baselines(parts: Parts, cache: Path, device: str) -> dict[str, Predictor]:
    """What a model is shown beside, by name; ridge is fitted once for the same content and split."""
    found: dict[str, Predictor] = {
        "copy_last": CopyLast(),
        "mean_of_context": MeanOfContext(),
        "global_mean": GlobalMean(parts.stats.mean_D),
        "ridge": _ridge(parts, cache),
    }
    if parts.oracle is not None:
        found["oracle"] = parts.oracle(device)
    return found


def judge(predictor: Predictor, parts: Parts, preset: Preset, device: str) -> FiveCat:
    return measure(predictor, parts.val, parts.ood, preset, documents=parts.documents, device=device)


def numbers(predictor: Predictor, windows: Windows | None, parts: Parts, preset: Preset, device: str) -> dict[str, Any]:
    """Plain numbers on one part; empty where there is no such part."""
    if windows is None or len(windows) == 0:
        return {}
    sample = sample_evenly(windows, preset.eval_windows or preset.max_windows, preset.seed)
    return part_metrics(predictor, sample, parts.stats, resamples=preset.resamples, seed=preset.seed, device=device)


def beside(model: FiveCat, baseline: FiveCat) -> dict[str, Any]:
    """A baseline's judgement with the model's lift over it on val, paired by window and resample."""
    lift = {name: number.to_dict() for name, number in lifts(model.val, baseline.val).items()}
    return {**summary(baseline), "model_lift_val": lift}


def summary(judged: FiveCat) -> dict[str, Any]:
    """A judgement in a line of a table: the verdict and each part's point estimates."""
    return {
        "passed": judged.passed,
        "verdict": judged.verdict,
        "gates": {letter: gate.state for letter, gate in judged.gates.items()},
        "val": judged.val.values(),
        "ood": judged.ood.values() if judged.ood else {},
    }


def _ridge(parts: Parts, cache: Path) -> Ridge:
    chosen = [parts.content, parts.train.context_length]
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode())
    digest.update(parts.train.target_row_W.tobytes())
    digest.update(parts.val.target_row_W.tobytes())
    file = cache / f"ridge-{digest.hexdigest()[:32]}.npz"
    if file.exists():
        return Ridge.load(file)
    ridge = fit_ridge(parts.train, parts.val)
    ridge.save(file)
    return ridge
