"""The body of `diagnose`: whether trained models' predictions collapse, copy or leave the encoder's scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_lab import logs
from lvm_lab.errors import UserError
from lvm_lab.files import write_report
from lvm_lab.reporting import diagnostics
from lvm_lab.runs import selecting as selection

PARTS = ("val", "test", "ood")


@dataclass(frozen=True)
class Diagnoses:
    """numbers: by checkpoint, what judge/metrics.py measured of a part. skipped: by path, why it was passed over."""

    numbers: dict[str, dict[str, Any]]
    skipped: dict[str, str]
    part: str

    def show(self, file: Path | None = None) -> None:
        """On the terminal, and in a file as JSON where one is named."""
        diagnostics.show_models(self.numbers, self.skipped, self.part, logs.to_terminal())
        if file is not None:
            write_report(file, self.numbers)


def diagnose_all(
    models: list[str], part: str, windows: int, data: str | Path | None, device: str, allow: Sequence[str] = ()
) -> Diagnoses:
    """Every checkpoint that `models` (run folders, checkpoints, patterns) name. allow: packages, beside the lab's own,
    whose classes they may be built of.

    Raises UserError where there is none, and for a checkpoint or data that do not fit.
    """
    if windows < 1:
        raise UserError(f"--windows {windows} leaves nothing to look at; give 1 or more.")
    checkpoints, skipped = selection.find(models)
    if not checkpoints:
        raise UserError(next(iter(skipped.values())))
    numbers = {
        str(checkpoint.file): diagnose(checkpoint, part, windows=windows, data=data, device=device, allow=allow)
        for checkpoint in checkpoints
    }
    return Diagnoses(numbers, skipped, part)


def diagnose(
    checkpoint: selection.Checkpoint,
    part: str,
    *,
    windows: int,
    data: str | Path | None,
    device: str,
    allow: Sequence[str] = (),
) -> dict[str, Any]:
    """The numbers of judge/metrics.py for a checkpoint, on its own data or on that of a file.

    Raises UserError for a checkpoint or data that do not fit, and for a part without windows.
    """
    # Torch comes in only now: --help answers without it.
    from lvm_lab.jobs import candidates
    from lvm_lab.judge.metrics import part_metrics

    subject = candidates.subject(checkpoint, part, data=data, device=device, allow=allow)
    return part_metrics(subject.model.forward, subject.sample(windows), subject.model.stats, device=subject.device)
