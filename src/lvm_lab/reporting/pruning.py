"""What pruning would free, run by run; no torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from lvm_lab.reporting.terminal import table
from lvm_lab.runs.pruning import Share

UNITS = ("B", "kB", "MB", "GB", "TB")


def show(shares: Sequence[Share], console: Console) -> None:
    """A line a run, then the sum."""
    grid = table(("run", "frees", "removes", "keeps"), right=("frees",))
    for share in shares:
        if share.untouched:
            grid.add_row(escape(share.folder.name), "", "", f"everything: {escape(share.untouched)}")
            continue
        names = "\n".join(file.name for file in share.removable)
        kept = "\n".join(f"{name}: {reason}" for name, reason in share.kept.items())
        grid.add_row(escape(share.folder.name), size(share.bytes) if names else "", escape(names), escape(kept))
    console.print(grid)
    files = sum(len(share.removable) for share in shares)
    freed = size(sum(share.bytes for share in shares))
    of = sum(bool(share.removable) for share in shares)
    console.print(f"{files} checkpoints of {of} of {len(shares)} runs may go: {freed}", highlight=False)


def size(count: int) -> str:
    """12.3 MB"""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"
