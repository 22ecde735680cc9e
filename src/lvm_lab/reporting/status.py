"""How a sweep stands, read from its folder while it runs: `lvm-lab status multirun/hundred`; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from lvm_lab.reporting.numbers import fixed, signed
from lvm_lab.reporting.terminal import table
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.leaderboard import Entry

HEADS = ("run", "week", "status", "epochs", "VAL halves", "margin", "unseen", "following", "preset", "seconds", "")
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
    grid = table(HEADS, right=("epochs", "margin", "unseen", "following", "seconds"))
    for entry in entries:
        grid.add_row(*_cells(entry))
    console.print(grid)
    counts = Counter(entry.status for entry in entries)
    console.print(", ".join(f"{number} {status}" for status, number in counts.items()) or "no runs", highlight=False)
    best = leaderboard.ranked(entries)
    if best:
        console.print(f"best by VAL: {best[0].name}", highlight=False, markup=False)


def show_run(entry: Entry, console: Console) -> None:
    """One run: its line, and what there is to know or to do next."""
    grid = table(HEADS, right=("epochs", "margin", "unseen", "following", "seconds"))
    grid.add_row(*_cells(entry))
    console.print(grid)
    for line in _next(entry):
        console.print(line, highlight=False, markup=False)


def _next(entry: Entry) -> Iterator[str]:
    result, rows = entry.result, entry.run.history
    if result is None and rows:
        losses = {key: value for key, value in rows[-1].items() if key in ("train/loss", "val/loss")}
        yield f"epoch {len(rows)}: " + ", ".join(f"{key} {value:.4f}" for key, value in losses.items())
    if entry.status == "started":
        yield "not at work: the command that began it goes on from the last whole epoch"
    if result is not None:
        yield from (f"{a.name} on {a.part} (best offset {a.best_k:+d}): check {a.check}" for a in result.alarms)
        yield from (f"{f.name} on val ({f.measured}): check {f.check}" for f in result.findings("val"))
    if entry.run.checkpoint is not None:
        yield f"checkpoint: {entry.run.checkpoint}"


def _cells(entry: Entry) -> list[str]:
    status = f"[{STYLES[entry.status]}]{entry.status}[/]" if entry.status in STYLES else entry.status
    done, wanted = entry.epochs
    epochs = f"{done}/{wanted}" if wanted else ""
    halves, margin, ranks = "", "", ["", ""]
    if entry.rank is not None and entry.val is not None and entry.result is not None:
        halves = f"{entry.val.passed}/{entry.val.of}"
        margin = signed(entry.rank[1])
        ranks = [fixed(entry.result.value("val", key)) for key in ("B/mrr_unseen", "following/mrr")]
    preset = {True: "passes", False: "fails", None: ""}[entry.passes]
    week = "" if entry.week is None else str(entry.week)
    numbers = [halves, margin, *ranks, preset, fixed(entry.seconds, 0)]
    return [escape(entry.name), week, status, epochs, *numbers, escape(entry.error or "")]
