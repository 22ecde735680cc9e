"""The body of `train`: finished? build, fit, score, record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.config.settings import settings as typed
from lvm_lab.training import devices


def train(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
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
    devices.check_precision(settings.trainer.precision, settings.device)
    devices.choose_kernels(settings.device)
    Session.check(settings)
    if settings.run.dir:
        check_place(Path(settings.run.dir))
    data, module, content = prepare(settings)
    root = sweep_dir or Path(settings.run.root)
    claimed = claim(settings.config, content, directory=settings.run.dir, root=root, force=settings.run.force)
    with claimed as run, Session(settings, data, run, console) as session:
        if run.state == "finished":
            session.tell("this run is finished already (run.force=true starts it over)")
            session.show(run.result())
            return
        session.check_data()
        session.fit(module)
        result = session.score()
        session.finish(result)
        session.show(result)
