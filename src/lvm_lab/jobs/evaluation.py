"""The body of `evaluate`: look at the checkpoints, open their data, score, report.

Everything that can be refused is looked at before the first long pass: paths, weights, dims, contracts, empty parts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from lvm_lab.scoring.by_source import by_source
from lvm_lab.scoring.folds import pooled_tables
from lvm_lab.scoring.ground import Ground, open_ground, source_of
from lvm_lab.scoring.labels import model_labels
from lvm_lab.scoring.scores import EVALUATION, score_together
from lvm_lab.scoring.sharing import shared

log = logging.getLogger(__name__)

# Models in one table are compared with each other: a ground for each length of context that they read.
Table = list[tuple[Ground, list[Candidate]]]


def evaluate(settings: EvaluationSettings) -> dict[str, Any]:
    """The whole report, ready for JSON. Raises UserError where no model is left to judge."""
    gates.check(settings.preset)
    baselines.check(settings.preset)
    device = candidates.judging_device(settings.device)
    tables, skipped = _look_at(settings)
    if settings.device.threads:
        torch.set_num_threads(settings.device.threads)
    models = [model for table in tables for _, listed in table for model in listed]
    names = model_labels([(model.file, model.config) for model in models])
    labels = dict(zip((model.file for model in models), names, strict=True))
    passed_over = [{"path": path, "reason": reason} for path, reason in skipped.items()]
    for ground, listed in (group for table in tables for group in table):
        for path, reason in ground.skipped.items():
            passed_over.append({"path": path, "reason": f"{', '.join(labels[m.file] for m in listed)}: {reason}"})
            log.warning("skipped %s", passed_over[-1]["reason"])
    if settings.by == "source":
        tables = [[(by_source(ground), listed) for ground, listed in table] for table in tables]
    judged = [_score(table, labels, device, settings.allow) for table in tables]
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


def _look_at(settings: EvaluationSettings) -> tuple[list[Table], dict[str, str]]:
    """The models that can be judged, by the table that they stand in, and why others cannot, by path."""
    checkpoints, skipped = selecting.find(settings.checkpoints)
    models: list[Candidate] = []
    for checkpoint in checkpoints:
        with _skipping(skipped, checkpoint.file):
            # Built once, so that a checkpoint that cannot be loaded is told before anything is scored.
            models.append(
                candidates.candidate(candidates.load(checkpoint.file, allow=settings.allow), checkpoint, settings.data)
            )
    grounds: dict[str, Ground] = {}
    judged: dict[str, list[Candidate]] = {}
    for model in models:
        with _skipping(skipped, model.file):
            key = json.dumps(model.cut, sort_keys=True)
            if key not in grounds:
                grounds[key] = _open(model, settings)
            candidates.check(model, grounds[key].parts, instead="data=npz data.path=FILE")
            grounds[key] = grounds[key].apart_from(str(model.file), model.trainings).coded(model.codes)
            judged.setdefault(key, []).append(model)
    if not judged:
        reason = next(iter(skipped.values()))
        raise UserError(f"none of {len(skipped)} can be judged: {reason}" if len(skipped) > 1 else reason)
    for path, reason in skipped.items():
        log.warning("skipped %s: %s", path, reason)
    tables: dict[str, Table] = {}
    for key, listed in judged.items():
        tables.setdefault(json.dumps(listed[0].table, sort_keys=True), []).append((grounds[key], listed))
    return [one for table in tables.values() for one in _together(table)], skipped


def _together(table: Table) -> list[Table]:
    """One table on windows that all of its models have; one for each length of context where there are no such."""
    if len(table) == 1:
        return [table]
    try:
        grounds = shared([ground for ground, _ in table])
    except UserError as error:
        log.warning("%s", error)
        return [[(replace(ground, notes=(*ground.notes, str(error))), listed)] for ground, listed in table]
    return [[(ground, listed) for ground, (_, listed) in zip(grounds, table, strict=True)]]


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


def _score(table: Table, labels: dict[Path, str], device: str, allow: list[str]) -> dict[str, Any]:
    parts = ", ".join(table[0][0].windows)

    def announce(name: str) -> None:
        log.info("judging %s on %s", name, parts)

    groups = [
        ({labels[model.file]: partial(candidates.predictor, model.file, device, allow) for model in listed}, ground)
        for ground, listed in table
    ]
    scores = score_together(groups, EVALUATION, device, announce)
    return scores.to_dict({labels[model.file]: model.facts for _, listed in table for model in listed})
