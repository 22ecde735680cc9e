"""Tables and marks as a terminal shows them; no torch."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Any

from rich.table import Table

from lvm_lab.reporting.words import MARKS

# The control characters of ASCII and of Latin 1 but for the tab and the line break.
CONTROLS = {code: "?" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
COLOURS = {True: "green", False: "red", None: "yellow"}


def table(heads: Iterable[str], right: Container[str] = (), **look: Any) -> Table:
    """A table with these heads, those of `right` over numbers; look: what rich takes besides."""
    grid = Table(title_justify="left", **look)
    for head in heads:
        grid.add_column(head, justify="right" if head in right else "left")
    return grid


def lines(name: str, width: int) -> str:
    """A name on as many lines as it needs, broken after `-`, `_`, `/`, `.` or a space; within a word only where one is
    wider than all."""
    broken = [""]
    for word in re.findall(r"[^-_/. ]*[-_/. ]|[^-_/. ]+", name):
        if len(broken[-1] + word.rstrip()) > width and broken[-1]:
            broken.append("")
        broken[-1] += word
    return "\n".join(line.rstrip() for line in broken)


def plain(text: str) -> str:
    """A text from anywhere, for a terminal: what would move its cursor or change its colours is a question mark."""
    return text.translate(CONTROLS)


def mark(state: bool | None) -> str:
    """pass, FAIL or null in its colour, as rich's markup."""
    return f"[{COLOURS[state]}]{MARKS[state]}[/]"
