"""Diagnose a trained model: `python -m lvm_lab.diagnose RUN_OR_CHECKPOINT`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lvm_lab import logs
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.reporting import diagnostics as diagnostic_tables
from lvm_lab.runs import selecting as selection
from lvm_lab.training import devices

PARTS = ("val", "test", "ood")


def diagnose(found: selection.Found, part: str, *, windows: int, data: Path | None, device: str) -> dict[str, Any]:
    """The numbers of judge/metrics.py for a checkpoint, on its own data or on that of a file.

    Raises UserError for a checkpoint or data that do not fit, and for a part without windows.
    """
    # Torch comes in only now: --help answers without it.
    from lvm_lab.build import data as build_data
    from lvm_lab.build.load import load
    from lvm_lab.config.settings import DeviceSettings
    from lvm_lab.data.store import EncoderContract
    from lvm_lab.data.windows import sample_evenly
    from lvm_lab.judge.metrics import part_metrics

    file, where = found.file, DeviceSettings(accelerator=device)
    devices.check_available(where)
    model = load(file, devices.judging_device(where))
    said = model.identity
    own = node = said["config"]["data"]
    if data is not None:
        other = {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": str(data)}
        node = build_data.on_other_data(own, other)
    parts = build_data.parts(build_data.as_judged(said["config"], node, DeviceSettings(accelerator="cpu")))
    build_data.check_unseen(file, own, node, found.content, parts)
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
    return part_metrics(model.predict, sample, model.stats, device=devices.judging_device(where))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lvm_lab.diagnose",
        description="Whether a model's predictions collapse, copy, or leave the encoder's scale.",
        epilog="For data before training see python -m lvm_lab.check_data.",
    )
    parser.add_argument("models", nargs="+", metavar="RUN_OR_CHECKPOINT", help="run folders, .ckpt files, patterns")
    parser.add_argument("--part", choices=PARTS, default="val", help="of the data (val)")
    parser.add_argument("--windows", type=int, default=5000, help="at most so many, drawn evenly over documents (5000)")
    parser.add_argument("--data", type=Path, help="another .npz or store than the one that the model was trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the numbers go there too")
    args = parser.parse_args(argv)
    console = logs.to_terminal()
    try:
        if args.windows < 1:
            raise UserError(f"--windows {args.windows} leaves nothing to look at; give 1 or more.")
        found, skipped = selection.find(args.models)
        if not found:
            raise UserError(next(iter(skipped.values())))
        asked = {"windows": args.windows, "data": args.data, "device": args.device}
        numbers = {str(one.file): diagnose(one, args.part, **asked) for one in found}
        for path, reason in skipped.items():
            console.print(f"skipped {path}: {reason}", highlight=False)
        for path, measured in numbers.items():
            if "alarms" in measured:
                looked_at = f"{measured['windows']} windows of {measured['documents']} documents"
                table = diagnostic_tables.model_table(f"{path}, {args.part.upper()}: {looked_at}", measured)
                console.print(table)
            for line in diagnostic_tables.finding_lines(measured):
                console.print(line, highlight=False, soft_wrap=True)
        if args.json is not None:
            write_atomically(args.json, json.dumps(numbers, indent=2, allow_nan=False) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; mend that and give the command again.", file=sys.stderr)
        return 2
    return 0
