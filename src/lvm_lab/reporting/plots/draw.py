"""Draws every figure that a run's files have the numbers for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from lvm_lab.files import write_atomically
from lvm_lab.reporting.plots import FIGURES, _style, coherence, moments, offsets, retrieval, rollout, training
from lvm_lab.reporting.plots.record import Record, whole
from lvm_lab.runs import written

DRAW: dict[str, Callable[[Record], Figure | None]] = {
    "offsets": offsets.figure,
    "retrieval": retrieval.figure,
    "rollout": rollout.figure,
    "coherence": coherence.figure,
    "moments": moments.figure,
    "training": training.figure,
}


def figures(run: Record) -> dict[str, Figure]:
    """By name; a figure whose numbers the run does not have is left out."""
    with whole(run.folder):
        drawn = {name: DRAW[name](run) for name in FIGURES}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def draw(run: Record) -> dict[str, Path]:
    """Write `<run>/plots/<name>.png` for each; the files by name."""
    written.check_plain(run.folder, ["plots"])
    files = {}
    for name, figure in figures(run).items():
        file = run.folder / "plots" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        write_atomically(file, _style.png(figure))
        files[name] = file
    return files
