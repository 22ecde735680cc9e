"""Reading what a run has written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_history(folder: Path) -> list[dict[str, Any]]:
    """A run's history.jsonl by epoch; a last line that is still being written, or never was to its end, is left out."""
    file = folder / "history.jsonl"
    found: list[dict[str, Any]] = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
