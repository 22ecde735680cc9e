"""How a sweep stands, read from its folder while it runs: `python -m lvm_lab.status multirun/hundred`; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from lvm_lab.reporting.numbers import fixed, signed
from lvm_lab.reporting.terminal import table
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.leaderboard import Entry

HEADS = ("run", "week", "status", "epochs", "VAL halves", "margin", "unseen", "preset", "seconds", "")
STYLES = {
    "finished": "green",
    "running": "cyan",
    "started": "yellow",
    "diverged": "yellow",
    "failed": "red",
    "damaged": "red",
}


def show(entries: Sequence[Entry], console: Console) -> None:
    """A line a run, then how many stand how, and the best by VAL."""
    grid = table(HEADS, right=("epochs", "margin", "unseen", "seconds"))
    for entry in entries:
        grid.add_row(*_cells(entry))
    console.print(grid)
    counts = Counter(entry.status for entry in entries)
    console.print(", ".join(f"{number} {status}" for status, number in counts.items()) or "no runs", highlight=False)
    best = leaderboard.ranked(entries)
    if best:
        console.print(f"best by VAL: {best[0].name}", highlight=False)


def _cells(entry: Entry) -> list[str]:
    status = f"[{STYLES[entry.status]}]{entry.status}[/]" if entry.status in STYLES else entry.status
    done, wanted = entry.epochs
    epochs = f"{done}/{wanted}" if wanted else ""
    halves, margin, unseen = ("", "", "")
    if entry.rank is not None and entry.val is not None:
        halves = f"{entry.val.passed}/{entry.val.of}"
        margin, unseen = signed(entry.rank[1]), fixed(entry.rank[2])
    preset = {True: "passes", False: "fails", None: ""}[entry.passes]
    week = "" if entry.week is None else str(entry.week)
    numbers = [halves, margin, unseen, preset, fixed(entry.seconds, 0)]
    return [escape(entry.name), week, status, epochs, *numbers, escape(entry.error or "")]
