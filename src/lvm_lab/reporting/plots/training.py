"""How training went: every part of the loss, and what the judge said on the way.

Shape suffixes: E epochs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record

COLUMNS = 3
MARGIN = "5cat/val/A/margin"
SHARE = "gradient_share/"
LOOKS = {"train": (_style.GREY, "--"), "val": (_style.BLUE, "-")}


def figure(run: Record) -> Figure | None:
    """A panel for each loss part (train and val), the validation cosine, the gradient's shares and 5CAT's margin."""
    if not run.history:
        return None
    epoch_E = np.array([row["epoch"] for row in run.history])
    names = sorted({name for row in run.history for name in row}, key=_order)
    parts = dict.fromkeys(name.partition("/")[2] for name in names if name.startswith(("train/", "val/")))
    shares = [name for name in names if name.startswith(SHARE)]
    panels = [*parts, *(["shares"] if shares else []), *(["margin"] if MARGIN in names else [])]
    checkpoint = run.result.checkpoint or f"none, the run {run.result.status}"
    rows = -(-len(panels) // COLUMNS)
    about = f"each loss part before its weight, 1 for a trivial predictor; checkpoint: {checkpoint}"
    title = f"Training of {run.result.arch} with {run.result.loss}"
    figure, all_axes = _style.new(title, about, rows, COLUMNS)
    for axes, panel in zip(all_axes, panels, strict=False):
        if panel == "shares":
            for colour, name in zip(_style.CYCLE, shares, strict=False):
                _line(axes, epoch_E, run, name, name.removeprefix(SHARE), colour, "-")
            title = "share of the gradient at raw"
        elif panel == "margin":
            _line(axes, epoch_E, run, MARGIN, "val", _style.BLUE, "-")
            if "margin" in (numbers := run.numbers("A", "val")):
                _style.threshold(axes, numbers["margin"], "val")
            title = "5CAT margin"
        else:
            for side, (colour, dashes) in LOOKS.items():
                if f"{side}/{panel}" in names:
                    _line(axes, epoch_E, run, f"{side}/{panel}", side, colour, dashes)
            title = panel
        axes.set_title(title, fontsize=8)
        axes.set_xlim(epoch_E[0] - 0.4, epoch_E[-1] + 0.4)
        axes.locator_params(axis="x", integer=True, nbins=6)
        _style.legend(axes)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    for axes in all_axes[max(0, len(panels) - COLUMNS) : len(panels)]:
        axes.set_xlabel("epoch", fontsize=8)
    return figure


def _line(axes: Axes, epoch_E: np.ndarray, run: Record, name: str, label: str, colour: str, dashes: str) -> None:
    """One number by epoch, without the epochs that have none of it."""
    value_E = np.array([np.nan if row.get(name) is None else row[name] for row in run.history], dtype=np.float64)
    # A number of every fifth epoch is joined over the epochs between; one that became no number is a gap.
    had_E = np.array([name in row for row in run.history])
    look: dict[str, Any] = {"marker": ".", "markersize": 4, "linewidth": 1.3}
    axes.plot(epoch_E[had_E], value_E[had_E], color=colour, linestyle=dashes, label=label, **look)


def _order(name: str) -> tuple[int, str]:
    """The total first and the cosine last; its terms between."""
    return {"loss": 0, "cos": 2}.get(name.partition("/")[2], 1), name
