"""Make a FAISS index over a store's vectors and measure it: `lvm-lab index STORE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch
from lvm_lab.commands.arguments import Files
from lvm_lab.errors import UserError


def main() -> None:
    launch.launch("index", index, files=Files("store"), interrupted="nothing was written")


def index(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Make, measure, write, show; what is there already is shown."""
    if sweep_dir is not None:
        raise UserError("one command makes one index; leave -m out.")
    from lvm_lab import logs
    from lvm_lab.config.index import IndexSettings
    from lvm_lab.jobs import indexing
    from lvm_lab.reporting import index as index_report

    console = logs.to_terminal()
    settings = IndexSettings.from_dict(config)
    index_report.show(settings.folder, indexing.index(settings), console)


if __name__ == "__main__":
    main()
