"""The body of `train`: finished? build, fit, score, record."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lvm_lab.config.settings import settings as typed
from lvm_lab.runs.result import Result
from lvm_lab.sweeps import objective
from lvm_lab.training import devices

log = logging.getLogger(__name__)


def trial(config: dict[str, Any], sweep_dir: Path | None = None) -> float | None:
    """One run as a sweeper sees it: its sweep.objective, also of a run that was finished before.

    None where none is asked for, and for a run that diverged or has no such number.
    """
    result = train(config, sweep_dir)
    expression = config.get("sweep", {}).get("objective")
    if expression is None:
        return None
    value = objective.of_result(expression, result)
    log.info("sweep.objective=%s: %s", expression, "none" if value is None else f"{value:.4f}")
    return value


def train(config: dict[str, Any], sweep_dir: Path | None = None) -> Result:
    """One run: finished? build, fit, score, record."""
    devices.lead(config, sweep_dir)
    # Torch comes in only now: --help and --cfg job answer without it.
    from lvm_lab import logs
    from lvm_lab.build import members
    from lvm_lab.build.training import prepare
    from lvm_lab.jobs.session import Session
    from lvm_lab.runs.folder import check_place, claim
    from lvm_lab.runs.process import is_leader

    console = logs.to_terminal(is_leader())
    settings = members.resolve(typed(config))
    devices.check_available(settings.device)
    devices.check_multirun(settings.device.devices)
    devices.check_precision(settings.trainer.precision, settings.device)
    devices.choose_kernels(settings.device)
    Session.check(settings)
    if settings.run.dir:
        check_place(Path(settings.run.dir))
    data, module, content, notes = prepare(settings)
    root = sweep_dir or Path(settings.run.root)
    claimed = claim(settings.config, content, directory=settings.run.dir, root=root, force=settings.run.force)
    with claimed as run, Session(settings, data, run, console, notes) as session:
        if run.state == "finished":
            session.tell("this run is finished already (run.force=true starts it over)")
            result = run.result()
            session.show(result)
            return result
        session.check_data()
        session.fit(module)
        result = session.score()
        session.finish(result)
        session.show(result)
        return result
