"""The body of `check_data`: measures what training would read; trains nothing and makes no folder."""

from __future__ import annotations

from typing import Any

from lvm_lab.build.data import parts as cut
from lvm_lab.config.settings import settings as typed
from lvm_lab.errors import UserError
from lvm_lab.judge import data_gate

# The arrow of time may look at so many times more windows than before training, where nobody wants to wait.
SCALE = 5


def examine(config: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """(the data gate's numbers and the arrow of time, whether data.gate=refuse makes a failed gate a mistake)."""
    settings = typed(config)
    parts = cut(settings)
    return data_gate.examine(parts.train, parts.val, scale=SCALE), settings.data.gate == "refuse"


def refuse(numbers: dict[str, Any]) -> None:
    """UserError for data whose gate failed."""
    if not numbers["passed"]:
        raise UserError(f"the data gate failed ({'; '.join(numbers['failed'])}); check the order of chunks.")
