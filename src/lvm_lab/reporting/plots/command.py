"""Draws the figures of runs again: `python -m lvm_lab.plots RUN...`."""

from __future__ import annotations

from pathlib import Path

from lvm_lab.commands.over_runs import over_runs
from lvm_lab.reporting.plots.record import Record


def main(argv: list[str] | None = None) -> int:
    return over_runs("lvm_lab.plots", "Draw the figures of runs from their folders into RUN/plots/.", _draw, argv)


def _draw(run: Record) -> list[Path]:
    # matplotlib comes in only now: --help answers without it.
    from lvm_lab.reporting.plots.draw import draw

    return list(draw(run).values())
