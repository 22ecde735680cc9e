"""How a sweep stands, read from its folder while it runs: `python -m lvm_lab.status multirun/hundred`; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from lvm_lab.sweeps import leaderboard

STYLES = {"finished": "green", "running": "cyan", "started": "yellow", "diverged": "yellow", "failed": "red"}


def show(rows: Sequence[leaderboard.Row], console: Console) -> None:
    """A line a run, then how many stand how, and the best by VAL."""
    table = Table()
    for column in ("run", "week", "status", "epochs", "VAL halves", "margin", "unseen", "preset", "seconds", ""):
        table.add_column(column, justify="right" if column in ("epochs", "margin", "unseen", "seconds") else "left")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    counts = Counter(row.status for row in rows)
    console.print(", ".join(f"{number} {status}" for status, number in counts.items()) or "no runs", highlight=False)
    best = leaderboard.ranked(rows)
    if best:
        console.print(f"best by VAL: {best[0].name}", highlight=False)


def _cells(row: leaderboard.Row) -> list[str]:
    status = f"[{STYLES[row.status]}]{row.status}[/]" if row.status in STYLES else row.status
    done, wanted = row.epochs
    epochs = f"{done}/{wanted}" if wanted else ""
    halves, margin, unseen = ("", "", "")
    if row.rank is not None:
        halves, margin, unseen = f"{row.rank[0]}/{leaderboard.VAL_HALVES}", f"{row.rank[1]:+.3f}", f"{row.rank[2]:.3f}"
    preset = {True: "passes", False: "fails", None: ""}[row.passes]
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    week = "" if row.week is None else str(row.week)
    return [row.name, week, status, epochs, halves, margin, unseen, preset, seconds, row.error or ""]
