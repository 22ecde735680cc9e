"""The body of `train`: finished? build, fit, score, record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.training import devices


def train(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """One run: finished? build, fit, score, record."""
    devices.lead(config, sweep_dir)
    # Torch comes in only now: --help and --cfg job answer without it.
    from lvm_lab import logs
    from lvm_lab.build import build, members
    from lvm_lab.jobs import session
    from lvm_lab.runs import folder as runs
    from lvm_lab.runs.process import is_leader

    console = logs.to_terminal(is_leader())
    chosen = build.settings(config)
    session.Session.check(chosen)
    data = build.parts(chosen)
    model = build.module(chosen, data.stats, build.contract_of(data))
    build.check_negatives(model, data)
    root = sweep_dir or Path(chosen.run.root)

    content = data.content | members.content(chosen.config)
    claimed = runs.claim(chosen.config, content, directory=chosen.run.dir, root=root, force=chosen.run.force)
    with claimed as run, session.Session(chosen, data, run, console) as at:
        if run.state == "finished":
            at.tell("this run is finished already (run.force=true starts it over)")
            at.show(run.result())
            return
        at.check_data()
        at.fit(model)
        result = at.score()
        at.finish(result)
        at.show(result)
