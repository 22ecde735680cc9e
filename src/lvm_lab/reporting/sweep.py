"""The table of a dry run: each row of a schedule with what would be done and how long that takes; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lvm_lab.sweeps.plan import Forecast

COLUMNS = ("run", "week", "phase", "arch", "what", "time")


def show(name: str, folder: Path, forecasts: Sequence[Forecast], console: Console | None = None) -> None:
    """The table, how many rows are to run, go on or be skipped, and the time of those whose time is known."""
    console = console or Console(width=120)
    table = Table(title=f"schedule={name} in {folder}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for line in forecasts:
        row, arch = line.row, line.row.arch or "the leaderboard says"
        table.add_row(row.id, str(row.week), str(row.phase), arch, line.action, _time(line.seconds))
    console.print(table)
    counts = Counter(line.action for line in forecasts)
    console.print(", ".join(f"{number} to {what}" for what, number in counts.items()), highlight=False)
    total = sum(line.seconds or 0.0 for line in forecasts)
    unknown = sum(line.seconds is None for line in forecasts)
    known = f"about {total / 60:.1f} minutes one after the other" if total else ""
    rest = f"{unknown} rows of unknown time: none of their architecture is finished yet" if unknown else ""
    console.print("; ".join(filter(None, (known, rest))) or "nothing to run", highlight=False)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f} s" if seconds else ""
