"""Evaluate one or many checkpoints: `lvm-lab evaluate outputs/* out=june`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch
from lvm_lab.commands.arguments import Files
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("evaluate", evaluate, files=Files("checkpoints"), interrupted="nothing was written")


def evaluate(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Score, write, show."""
    if sweep_dir is not None:
        raise UserError("one evaluation takes any number of checkpoints and stores; leave -m out.")
    # Torch comes in only now: --help and --cfg job answer without it.
    from lvm_lab import logs
    from lvm_lab.config.evaluation import EvaluationSettings
    from lvm_lab.jobs import evaluation
    from lvm_lab.reporting import evaluation as evaluation_report

    console = logs.to_terminal()
    settings = EvaluationSettings.from_dict(config)
    report = evaluation.evaluate(settings)
    evaluation_report.write(report, Path(settings.out))
    evaluation_report.show(report, Path(settings.out), console)


if __name__ == "__main__":
    main()
