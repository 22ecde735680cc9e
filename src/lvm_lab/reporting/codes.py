"""What is shown of TMD codes: how many chunks have which; no torch."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lvm_lab.reporting import terminal
from lvm_lab.reporting.numbers import counted, percent, whole


def show(counts: dict[str, Any], console: Console) -> None:
    """counts: as `lvm_lab.jobs.coding.counts` gives them."""
    console.print(table(counts))
    by = f" by {counts['by']}" if counts["by"] else ""
    missing = f"; {whole(counts['missing'])} have none yet" if counts["missing"] else ""
    console.print(f"{counted(counts['chunks'], 'chunk')} with TMD codes{by}{missing}", highlight=False, markup=False)


def table(counts: dict[str, Any]) -> Table:
    """A line a domain, the most common first."""
    grid = terminal.table(["domain", "chunks", "share"], {"chunks", "share"}, title="TMD domains")
    for name, count in counts["domains"].items():
        grid.add_row(escape(name), whole(count), percent(count / max(1, counts["chunks"]), 1))
    return grid
