"""Tables and marks as a terminal shows them; no torch."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from rich.table import Table

from lvm_lab.reporting.words import MARKS

COLOURS = {True: "green", False: "red", None: "yellow"}


def table(heads: Iterable[str], right: Container[str] = (), **look: Any) -> Table:
    """A table with these heads, those of `right` over numbers; look: what rich takes besides."""
    grid = Table(title_justify="left", **look)
    for head in heads:
        grid.add_column(head, justify="right" if head in right else "left")
    return grid


def mark(state: bool | None) -> str:
    """pass, FAIL or null in its colour, as rich's markup."""
    return f"[{COLOURS[state]}]{MARKS[state]}[/]"
