"""What all figures share: colours that everybody can tell apart, titles, curves with intervals, PNG bytes.

Shape suffixes: X points of a curve.
"""

from __future__ import annotations

import io
import logging
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lvm_lab.reporting.plots.record import Record
from lvm_lab.reporting.words import BASELINES, MARKS
from lvm_lab.runs.judgement import Gate, Number

# Its first words are about a font cache.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/); marker and dashes say the same without colour.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#767676"
COLOURS = {"val": BLUE, "ood": VERMILION, "test": "#009E73"}
MARKERS = {"val": "o", "ood": "s", "test": "^"}
CYCLE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
BASELINE_DASHES = {"copy_last": ":", "ridge": "--", "oracle": "-."}
WORDS = MARKS | {None: "not measurable"}


def new(title: str, subtitle: str, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with one title, a line under it that says what passes, and its panels row by row."""
    width, height = (6.4, 4.4) if rows * columns == 1 else (3.6 * columns + 0.6, 2.7 * rows + 1.3)
    figure = Figure(figsize=(width, height), dpi=110)
    subtitle = textwrap.fill(subtitle, int(15 * width))
    # A gate's reason may take several lines, which panels make room for.
    lines = 0.16 * subtitle.count("\n")
    top = 1 - ((0.7 if rows * columns == 1 else 0.95) + lines) / height
    panels = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(left=0.7 / width, right=1 - 0.15 / width, bottom=0.5 / height, top=top)
    figure.subplots_adjust(wspace=0.28, hspace=0.32)
    figure.suptitle(title, x=0.02, y=1 - 0.1 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    figure.text(0.02, 1 - 0.34 / height, subtitle, ha="left", va="top", fontsize=8, color="#404040")
    listed = list(panels.flat)
    for axes in listed:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.grid(axis="y", color="#ececec", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, listed


def title(letter: str, gate: Gate) -> str:
    """A gate's title, with what it says."""
    return f"Gate {letter}, {gate.name}: {WORDS[gate.state]}"


def parts(names: Iterable[str]) -> str:
    """The parts that were judged, as `VAL / OOD`."""
    return " / ".join(part.upper() for part in names)


def thresholds(numbers: Iterable[Number]) -> str:
    """The thresholds of VAL and OOD, as `0.50 / 0.48`."""
    return " / ".join(f"{number.threshold:.2f}" for number in numbers if number.threshold is not None)


def draw_curve(
    axes: Axes,
    x_X: Sequence[float] | np.ndarray,
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
    part: str,
    label: str,
    **look: Any,
) -> None:
    """A part's values with a marker each, and upright lines for their intervals."""
    value_X, low_X, high_X = points
    look = {"linewidth": 1.6, "markersize": 5} | look
    axes.plot(x_X, value_X, color=COLOURS[part], marker=MARKERS[part], label=label, **look)
    axes.vlines(x_X, low_X, high_X, color=COLOURS[part], linewidth=1.2, alpha=0.8)


def draw_baselines(axes: Axes, run: Record, letter: str, x_X: Sequence[float], names: Sequence[str]) -> None:
    """The baselines that have all of these numbers of a gate on VAL, in grey."""
    for name, dashes in BASELINE_DASHES.items():
        values = run.baseline(name, letter)
        if set(names) <= set(values):
            y_X = [values[point] for point in names]
            axes.plot(x_X, y_X, color=GREY, linestyle=dashes, linewidth=1, label=f"{BASELINES[name]}, VAL")


def threshold(axes: Axes, number: Number, part: str, x: tuple[float, float] | None = None, above: float = 0.0) -> None:
    """A light line at a number's threshold, over all of the axes or from x to x; none where it has no threshold.

    above: what the number is measured from.
    """
    if number.threshold is None:
        return
    y = above + number.threshold
    look: dict[str, Any] = {"color": COLOURS[part], "alpha": 0.45, "linewidth": 1, "linestyle": (0, (5, 3))}
    if x is None:
        axes.axhline(y, **look)
    else:
        axes.plot(x, (y, y), **look)


def legend(axes: Axes, **where: Any) -> None:
    axes.legend(fontsize=7, frameon=False, **where)


def png(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    held = io.BytesIO()
    figure.savefig(held, format="png", metadata={"Software": None})
    return held.getvalue()
