"""The shape of a command that makes files from the folders of finished runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.reporting.plots.record import Record, read


def over_runs(name: str, says: str, make: Callable[[Record], list[Path]], argv: list[str] | None) -> int:
    """Reads every run before the first file is written; the exit code is 2 after a user's mistake."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=says)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a finished run's folder")
    try:
        for run in [read(folder) for folder in parser.parse_args(argv).runs]:
            for file in make(run):
                print(file)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; mend that and give the command again.", file=sys.stderr)
        return 2
    return 0
