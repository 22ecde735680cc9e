"""The body of `promote`: a run judged by criteria, exported as a version of a model, and a stage moved to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvm_lab.build.load import load
from lvm_lab.config.promotion import PromotionSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs import evaluation, exporting
from lvm_lab.judge.criteria import Check, checks
from lvm_lab.runs import reading
from lvm_lab.runs.registry import Model, Work
from lvm_lab.text.installed import needed

log = logging.getLogger(__name__)


def model_of(settings: PromotionSettings) -> Model:
    return Model.of(Path(settings.registry), settings.name)


def promote(settings: PromotionSettings, show: Callable[[list[Check]], None] = lambda checks: None) -> str | None:
    """The version that the stage points at afterwards. show: called with the checks of a run before it is refused.

    Nothing is judged without a run: the stage goes back to what stood before, or stays. Raises UserError for a run
    that does not reach the criteria, where no reason is given, and where there is nothing to go back to.
    """
    model = model_of(settings)
    if settings.run is None and not settings.rollback:
        if not model.folder.is_dir():
            raise UserError(f"{model.folder} holds no model; promote one with lvm-lab promote RUN.")
        return model.version(settings.stage)
    if settings.run is None:
        return _back(model, settings)
    needed("safetensors.torch", "export")
    run = reading.read(Path(settings.run))
    file = run.judged_checkpoint()
    assert run.result is not None, "a run with a judged checkpoint has a result"
    with model.at_work() as work:
        listed = _looked_at(work, settings, run)
        show(listed)
        failed = [check for check in listed if not check.passed]
        if failed and settings.reason is None:
            raise UserError(
                f"{settings.run} fails {len(failed)} of {len(listed)} criteria of {settings.criteria.name}; promote "
                "another run, or force this one with reason=WHY."
            )
        with work.building() as place:
            trained = load(file, allow=settings.evaluation.allow)
            name = f"{settings.registry}/{settings.name}/{settings.stage}"
            exporting.write(trained, file, place, list(settings.formats), latency=False, name=name)
            version = work.add(place)
        over: dict[str, Any] = {"forced_over": [str(check) for check in failed]} if failed else {}
        over |= {"reason": settings.reason} if settings.reason else {}
        fields = {"run": settings.run, "fingerprint": run.result.fingerprint, "criteria": settings.criteria.name}
        work.move(settings.stage, version, "promote", **fields, **over)
        return version


def _looked_at(work: Work, settings: PromotionSettings, run: reading.Run) -> list[Check]:
    """The checks of a run, and a line in the history that its held-out parts were looked at, whatever comes of it."""
    judged = replace(settings.evaluation, checkpoints=[str(run.folder)])
    (table,) = evaluation.evaluate(judged)["data"]
    assert run.result is not None, "a run with a judged checkpoint has a result"
    listed = checks(settings.criteria, table, run.result.data_gate)
    parts = list(table["predictors"][0]["parts"])
    content = {"content": table["content"]}
    before = sum(line["action"] == "look" and line.get("content") == table["content"] for line in work.history())
    if before:
        log.warning("these held-out parts were looked at %d times before, so that they choose a little too", before)
    fields: dict[str, Any] = {"run": settings.run, "fingerprint": run.result.fingerprint, "parts": parts} | content
    fields |= {"criteria": settings.criteria.name, "looks": before + 1, "passed": all(c.passed for c in listed)}
    work.note("look", **fields, checks=[check.to_dict() for check in listed])
    return listed


def _back(model: Model, settings: PromotionSettings) -> str:
    if not model.folder.is_dir():
        raise UserError(f"{model.folder} holds no model, so nothing can be rolled back; promote a run first.")
    with model.at_work() as work:
        version = work.before(settings.stage)
        if version is None:
            raise UserError(f"{model.folder} has nothing before its {settings.stage}; promote another run instead.")
        reason = {"reason": settings.reason} if settings.reason else {}
        work.move(settings.stage, version, "rollback", **reason)
        return version
