"""Examine data before training on it: `python -m lvm_lab.check_data data=npz data.path=vectors.npz`.

Takes what lvm_lab.train takes and reads what it would read; nothing is trained and no folder is made.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from lvm_lab.commands import launch as cli
from lvm_lab.errors import UserError

HEADER = "Examine data before training on it; takes the settings of lvm_lab.train, of which data.* and run.cache count."
# The arrow of time may look at so many times more windows than before training, where nobody wants to wait.
SCALE = 5


def main() -> None:
    # Beside the first setting: Hydra reads settings in one stretch only, and flags such as -m may come before.
    first = next((i for i, a in enumerate(sys.argv) if i and "=" in a and not a.startswith("-")), len(sys.argv))
    sys.argv[first:first] = ["hydra.help.app_name=lvm_lab.check_data", f'hydra.help.header="{HEADER}"']
    cli.launch("train", check_data, interrupted="nothing was written")


def check_data(config: dict[str, Any], sweep_dir: Path | None = None) -> None:
    """The data gate and the arrow of time as a table; data.gate=refuse makes a failed gate a mistake."""
    # Torch comes in only now: --help and --cfg job answer without it.
    from lvm_lab import logs
    from lvm_lab.build.data import parts as cut
    from lvm_lab.config.settings import settings as typed
    from lvm_lab.judge.data_gate import examine
    from lvm_lab.reporting import diagnostics as diagnostic_tables

    console = logs.to_terminal()
    settings = typed(config)
    parts = cut(settings)
    found = examine(parts.train, parts.val, scale=SCALE)
    console.print(diagnostic_tables.data_table(found))
    for line in diagnostic_tables.gate_lines(found):
        console.print(line, highlight=False)
    if not found["passed"] and settings.data.gate == "refuse":
        raise UserError(f"the data gate failed ({'; '.join(found['failed'])}); check the order of chunks.")
