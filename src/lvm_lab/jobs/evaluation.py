"""The body of `evaluate`: look at the checkpoints, open their data, score, report.

Everything that can be refused is looked at before the first long pass: paths, weights, dims, contracts, empty parts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lvm_lab import __version__
from lvm_lab.config.evaluation import EvaluationSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs import candidates
from lvm_lab.jobs.candidates import Candidate
from lvm_lab.judge import baselines, gates
from lvm_lab.runs import selecting
from lvm_lab.runs.folds import fold_of
from lvm_lab.runs.process import commit
from lvm_lab.scoring.folds import pooled_tables
from lvm_lab.scoring.ground import Ground, open_ground, source_of
from lvm_lab.scoring.labels import model_labels
from lvm_lab.scoring.scores import EVALUATION, score

log = logging.getLogger(__name__)

# Models on one ground are in one table, and are compared with each other.
Tables = list[tuple[Ground, list[Candidate]]]


def evaluate(settings: EvaluationSettings) -> dict[str, Any]:
    """The whole report, ready for JSON. Raises UserError where no model is left to judge."""
    gates.check(settings.preset)
    baselines.check(settings.preset)
    device = candidates.judging_device(settings.device)
    tables, skipped = _look_at(settings)
    if settings.device.threads:
        torch.set_num_threads(settings.device.threads)
    models = [model for _, listed in tables for model in listed]
    names = model_labels([(model.file, model.config) for model in models])
    labels = dict(zip((model.file for model in models), names, strict=True))
    passed_over = [{"path": path, "reason": reason} for path, reason in skipped.items()]
    for ground, listed in tables:
        for path, reason in ground.skipped.items():
            passed_over.append({"path": path, "reason": f"{', '.join(labels[m.file] for m in listed)}: {reason}"})
            log.warning("skipped %s", passed_over[-1]["reason"])
    judged = [_score({labels[m.file]: m for m in listed}, ground, device, settings.allow) for ground, listed in tables]
    folds = {labels[model.file]: fold_of(model.config, model.content) for model in models if model.own_data}
    return {
        "version": __version__,
        "commit": commit(),
        "preset": settings.preset.name,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "threads": torch.get_num_threads(),
        "data": judged + pooled_tables(judged, folds, settings.preset.every_interval_clear),
        "skipped": passed_over,
    }


def _look_at(settings: EvaluationSettings) -> tuple[Tables, dict[str, str]]:
    """The models that can be judged, by what they are judged on, and why others cannot, by path."""
    checkpoints, skipped = selecting.find(settings.checkpoints)
    models: list[Candidate] = []
    for checkpoint in checkpoints:
        with _skipping(skipped, checkpoint.file):
            # Built once, so that a checkpoint that cannot be loaded is told before anything is scored.
            models.append(
                candidates.candidate(candidates.load(checkpoint.file, allow=settings.allow), checkpoint, settings.data)
            )
    grounds: dict[str, Ground] = {}
    tables: dict[str, list[Candidate]] = {}
    for model in models:
        with _skipping(skipped, model.file):
            key = json.dumps(model.cut, sort_keys=True)
            if key not in grounds:
                grounds[key] = _open(model, settings)
            candidates.check(model, grounds[key].parts, instead="data=npz data.path=FILE")
            grounds[key] = grounds[key].apart_from(str(model.file), model.trainings)
            tables.setdefault(key, []).append(model)
    if not tables:
        reason = next(iter(skipped.values()))
        raise UserError(f"none of {len(skipped)} can be judged: {reason}" if len(skipped) > 1 else reason)
    for path, reason in skipped.items():
        log.warning("skipped %s: %s", path, reason)
    return [(grounds[key], listed) for key, listed in tables.items()], skipped


@contextmanager
def _skipping(skipped: dict[str, str], file: Path) -> Iterator[None]:
    """Notes a UserError as the reason why a checkpoint is passed over."""
    try:
        yield
    except UserError as error:
        skipped[str(file)] = str(error)


def _open(model: Candidate, settings: EvaluationSettings) -> Ground:
    data = candidates.open_data(model, settings.device, {"cache": settings.cache}, settings.allowed)
    return open_ground(
        data.parts,
        data.settings,
        settings.preset,
        data.cache,
        kinds=settings.parts,
        sources={part: source_of(model.node, part) for part in settings.parts},
        stores=settings.ood,
    )


def _score(models: dict[str, Candidate], ground: Ground, device: str, allow: list[str]) -> dict[str, Any]:
    def announce(name: str) -> None:
        log.info("judging %s on %s", name, ", ".join(ground.windows))

    predictors = {name: partial(candidates.predictor, model.file, device, allow) for name, model in models.items()}
    scores = score(predictors, ground, EVALUATION, device, announce)
    return scores.to_dict({name: model.facts for name, model in models.items()})
