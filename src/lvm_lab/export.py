"""Write a trained model as safetensors, ONNX and torch.export: `lvm-lab export RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch
from lvm_lab.commands.arguments import Files
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("export", export, files=Files("run"), interrupted="nothing was written")


def export(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Write, show, and upload where that is asked for."""
    if sweep_dir is not None:
        raise UserError("one command exports one run; leave -m out.")
    from lvm_lab import logs
    from lvm_lab.config.export import ExportSettings
    from lvm_lab.jobs import exporting
    from lvm_lab.reporting import export as export_report

    console = logs.to_terminal()
    settings = ExportSettings.from_dict(config)
    export_report.show(settings.folder, exporting.export(settings), console)
    if settings.push_to_hub:
        console.print(exporting.push(settings.folder, settings.push_to_hub, private=settings.private))


if __name__ == "__main__":
    main()
