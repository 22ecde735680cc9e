"""The leaderboard as CSV, every number as the run wrote it, and as Markdown, rounded; no torch."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lvm_lab.reporting.board.columns import COLUMNS, Board, Cell, Column
from lvm_lab.reporting.board.seeds import Spread, groups
from lvm_lab.sweeps.leaderboard import VAL_HALVES


def csv_table(board: Board) -> str:
    """One line a run with all columns and the error."""
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(["place", "run", *(c.key for c in COLUMNS), "error"])
    for line in board.by_place():
        cells = [line.place, line.row.name, *line.cells.values(), line.row.error]
        writer.writerow([_no_formula(cell) for cell in cells])
    return held.getvalue()


def markdown(board: Board, folder: Path) -> str:
    """The short columns of every run, seeds as mean and deviation, and what failed."""
    shown = [c for c in COLUMNS if c.short]
    parts = [f"# {_plain(folder.resolve().name)}", summary(board, _plain)]
    rows = [
        [line.place, f"{_plain(line.row.name)}{' ★' if line.row.name == board.best else ''}"]
        + [written(line.cells[c.key], c) for c in shown]
        for line in board.by_place()
    ]
    parts.append(_table(["", "run", *(c.title for c in shown)], rows, [c.kind for c in shown]))
    if seeds := [g for g in groups(board) if len(g.lines) > 1]:
        numbers = [c for c in shown if c.kind in ("state", "number")]
        rows = [[len(g.lines), _plain(g.name), *(_spread(g.numbers.get(c.key), c) for c in numbers)] for g in seeds]
        parts += [
            "## Seeds",
            "Mean ± deviation over the seeds; of a gate, how many pass.",
            _table(["", "runs", *(c.title for c in numbers)], rows, ["number"] * len(numbers)),
        ]
    if failed := [line.row for line in board.lines if line.row.error]:
        parts += ["## Errors", "\n".join(f"- {_plain(row.name)}: {_plain(str(row.error))}" for row in failed)]
    return "\n\n".join(parts) + "\n"


def summary(board: Board, named: Callable[[str], str]) -> str:
    """How many runs stand how, and which is the best. named: how the name of a run is written there."""
    counts = Counter(line.row.status for line in board.lines)
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    order = f"by VAL alone: halves passed (of {VAL_HALVES}), margin, unseen MRR"
    best = f"None is best: no run passes its 5CAT preset on VAL (order {order})."
    if board.best:
        best = f"Best (★) is {named(board.best)}, {order}."
    apart = sum(line.place is None and line.row.rank is not None for line in board.lines)
    others = f" {apart} without a place were judged on another VAL, or by other gates, than most." if apart else ""
    return f"{len(board.lines)} runs: {told}. {best}{others}"


def written(cell: Cell, column: Column) -> str:
    """A cell as people read it."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return _plain(cell)
    return f"{cell:,}" if column.kind == "whole" else f"{cell:.{column.digits}f}"


def _spread(found: Spread | None, column: Column) -> str:
    if found is None:
        return ""
    if column.kind == "state":
        return f"{round(found.mean * found.count)}/{found.count}"
    mean = f"{found.mean:.{column.digits}f}"
    return mean if found.deviation is None else f"{mean} ± {found.deviation:.{column.digits}f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], kinds: Sequence[str]) -> str:
    aligned = ["--:", "---", *("--:" if kind in ("whole", "number") else "---" for kind in kinds)]
    lines = [heads, aligned, *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return " ".join(text.split())


def _no_formula(cell: Cell) -> Cell:
    """A spreadsheet would run a text that begins like a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell
