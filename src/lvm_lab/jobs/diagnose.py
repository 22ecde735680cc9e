"""The body of `diagnose`: whether trained models' predictions collapse, copy or leave the encoder's scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import selecting as selection

PARTS = ("val", "test", "ood")


@dataclass(frozen=True)
class Diagnoses:
    """numbers: by checkpoint, what judge/metrics.py measured. skipped: by path, why it was passed over."""

    numbers: dict[str, dict[str, Any]]
    skipped: dict[str, str]

    def write(self, file: Path) -> None:
        write_atomically(file, json.dumps(self.numbers, indent=2, allow_nan=False) + "\n")


def diagnose_all(models: list[str], part: str, windows: int, data: Path | None, device: str) -> Diagnoses:
    """Every checkpoint that `models` (run folders, checkpoints, patterns) name.

    Raises UserError where there is none, and for a checkpoint or data that do not fit.
    """
    if windows < 1:
        raise UserError(f"--windows {windows} leaves nothing to look at; give 1 or more.")
    checkpoints, skipped = selection.find(models)
    if not checkpoints:
        raise UserError(next(iter(skipped.values())))
    settings = {"windows": windows, "data": data, "device": device}
    numbers = {str(one.file): diagnose(one, part, **settings) for one in checkpoints}  # type: ignore[arg-type]
    return Diagnoses(numbers, skipped)


def diagnose(found: selection.Found, part: str, *, windows: int, data: Path | None, device: str) -> dict[str, Any]:
    """The numbers of judge/metrics.py for a checkpoint, on its own data or on that of a file.

    Raises UserError for a checkpoint or data that do not fit, and for a part without windows.
    """
    # Torch comes in only now: --help answers without it.
    from lvm_lab.build import build
    from lvm_lab.config.settings import DeviceSettings
    from lvm_lab.data.store import EncoderContract
    from lvm_lab.data.windows import sample_evenly
    from lvm_lab.judge.metrics import part_metrics

    file, where = found.file, DeviceSettings(accelerator=device)
    build.check_device(where)
    model = build.load(file, build.judged_on(where))
    said = model.identity
    own = node = said["config"]["data"]
    if data is not None:
        other = {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": str(data)}
        node = build.on_other_data(own, other)
    parts = build.parts(build.as_judged(said["config"], node, DeviceSettings(accelerator="cpu")))
    build.check_unseen(file, own, node, found.content, parts)
    conflict = EncoderContract(**said["contract"]).conflict(parts.contract) if said["contract"] else None
    if conflict or len(model.stats.mean_D) != parts.train.dim:
        conflict = conflict or f"dim {len(model.stats.mean_D)} against {parts.train.dim}"
        raise UserError(
            f"{file} was trained on other vectors than the data's ({conflict}); give --data of its encoder."
        )
    held_out = getattr(parts, part)
    if held_out is None or len(held_out) == 0:
        raise UserError(f"the data of {file} has no {part} part; choose another --part.")
    sample = sample_evenly(held_out, windows, 0)
    return part_metrics(model.predict, sample, model.stats, device=build.judged_on(where))
