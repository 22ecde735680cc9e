"""The page on which a text is tried: one file, whose script asks this server alone and draws what it answers."""

from __future__ import annotations

from functools import cache

from lvm_lab.reporting.board.page import PACKAGE as BOARD
from lvm_lab.reporting.self_contained import filled, joined, policy

PACKAGE = "lvm_lab.serving.page"
# Figures are the leaderboard's.
FIGURES = ("dom.js", "axes.js", "naming.js", "charts.js")
SCRIPTS = ("example.js", "asking.js", "chunks.js", "columns.js", "page.js")
ELSE = "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@cache
def page() -> tuple[str, str]:
    """The HTML, and the Content-Security-Policy that it is sent with."""
    style = f"{joined(BOARD, ['base.css'])}\n{joined(PACKAGE, ['page.css'])}"
    script = f"{joined(BOARD, FIGURES)}\n{joined(PACKAGE, SCRIPTS)}"
    content = filled(joined(PACKAGE, ["page.html"]), {"style": style, "script": script})
    return content, f"{policy(style, script)}; {ELSE}"
