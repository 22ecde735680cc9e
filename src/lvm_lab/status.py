"""How a sweep stands, read from its folder while it runs: `lvm-lab status multirun/hundred`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lvm_lab.commands import plain
from lvm_lab.reporting import status
from lvm_lab.sweeps import leaderboard


def main(argv: Sequence[str] | None = None) -> int:
    parser = plain.parser("status", "How the runs of a folder stand, or one run by itself.")
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as multirun/hundred, outputs, or a run's")
    args = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 120)

    def body() -> None:
        if leaderboard.is_run(args.folder):
            status.show_run(leaderboard.entry(args.folder), console)
        else:
            status.show(leaderboard.read(args.folder), console)

    return plain.answer(body)


if __name__ == "__main__":
    sys.exit(main())
