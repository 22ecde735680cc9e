"""Examine data before training on it: `lvm-lab check-data FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvm_lab.commands import launch
from lvm_lab.commands.arguments import Files

HEADER = "Examine data before training on it; takes the settings of lvm-lab train, of which data.* and run.cache count."


def main() -> None:
    files = Files("data.path", implies="data=npz")
    launch.launch("train", check_data, files=files, interrupted="nothing was written", door="check_data", header=HEADER)


def check_data(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """Examine, show, refuse where data.gate=refuse makes a failed gate a mistake."""
    # Torch comes in only now: --help and --cfg job answer without it.
    from lvm_lab import logs
    from lvm_lab.jobs import check_data as examination
    from lvm_lab.reporting import diagnostics as diagnostic_tables

    console = logs.to_terminal()
    numbers, refuses = examination.examine(config)
    console.print(diagnostic_tables.data_table(numbers))
    for line in diagnostic_tables.data_gate_lines(numbers):
        console.print(line, highlight=False, markup=False)
    if refuses:
        examination.refuse(numbers)


if __name__ == "__main__":
    main()
