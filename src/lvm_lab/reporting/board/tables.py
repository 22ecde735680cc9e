"""The leaderboard as CSV, every number as the run wrote it, and as Markdown, rounded; no torch."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lvm_lab.reporting.board.columns import Board, Cell, Column
from lvm_lab.reporting.board.seeds import Spread, groups
from lvm_lab.reporting.markdown import plain, table
from lvm_lab.reporting.numbers import fixed


def csv_table(board: Board) -> str:
    """One line a run with all columns and the error."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(["place", "run", *(c.key for c in board.columns), "error"])
    for line in board.by_place():
        cells = [line.place, line.entry.name, *line.cells.values(), line.entry.error]
        writer.writerow([_no_formula(cell) for cell in cells])
    return held.getvalue()


def markdown(board: Board, folder: Path) -> str:
    """The short columns of every run, seeds as mean and deviation, and what failed."""
    shown = [c for c in board.columns if c.short]
    parts = [f"# {plain(folder.resolve().name)}", summary(board, plain)]
    rows = [
        ["" if line.place is None else str(line.place)]
        + [f"{'↳ ' if line.pool else ''}{plain(line.entry.name)}{' ★' if line.entry.name == board.best else ''}"]
        + [written(line.cells[c.key], c) for c in shown]
        for line in board.by_place()
    ]
    right = {0} | {place for place, c in enumerate(shown, start=2) if c.kind in ("whole", "number")}
    parts.append(table(["", "run", *(c.title for c in shown)], rows, right))
    if seeds := [g for g in groups(board) if len(g.seeds) > 1]:
        numbers = [c for c in shown if c.kind in ("state", "number")]
        rows = [[str(len(g.seeds)), plain(g.name), *(_spread(g.numbers.get(c.key), c) for c in numbers)] for g in seeds]
        right = {0, *range(2, len(numbers) + 2)}
        parts += [
            "## Seeds",
            "Mean ± deviation over the seeds; of a gate, how many pass.",
            table(["", "runs", *(c.title for c in numbers)], rows, right),
        ]
    if failed := [line.entry for line in board.lines if line.entry.error]:
        parts += ["## Errors", "\n".join(f"- {plain(entry.name)}: {plain(entry.error or '')}" for entry in failed)]
    return "\n\n".join(parts) + "\n"


def summary(board: Board, named: Callable[[str], str]) -> str:
    """How many runs stand how, and which is the best. named: how the name of a run is written there."""
    runs = [line for line in board.lines if not line.entry.members]
    counts = Counter(line.entry.status for line in runs)
    statuses = ", ".join(f"{number} {status}" for status, number in counts.items())
    order = f"by VAL alone: halves passed (of {board.halves}), margin, following"
    best = f"None is best: no run passes its 5CAT preset on VAL (order {order})."
    if board.best:
        best = f"Best (★) is {named(board.best)}, {order}."
    apart = Counter(line.apart for line in board.lines if line.apart)
    others = "".join(f" {number} without a place: {reason}." for reason, number in apart.items())
    return f"{len(runs)} runs: {statuses}. {best}{others}"


def written(cell: Cell, column: Column) -> str:
    """A cell as people read it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return plain(cell)
    return f"{cell:,}" if column.kind == "whole" else fixed(cell, column.digits)


def _spread(spread: Spread | None, column: Column) -> str:
    if spread is None:
        return ""
    if column.kind == "state":
        return f"{round(spread.mean * spread.count)}/{spread.count}"
    mean = fixed(spread.mean, column.digits)
    return mean if spread.deviation is None else f"{mean} ± {fixed(spread.deviation, column.digits)}"


def _no_formula(cell: Cell) -> Cell:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell
