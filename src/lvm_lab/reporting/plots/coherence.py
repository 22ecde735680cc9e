"""Gate E: whether the prediction is as good out of domain, at equal coherence of the context."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_lab.config.thresholds import NORMAL
from lvm_lab.reporting.numbers import signed
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve
from lvm_lab.runs.judgement import Number

LOW, HIGH = (f"{edge:g}".lstrip("0") for edge in NORMAL)
BINS = {"low": f"low (below {LOW})", "normal": f"normal ({LOW} to {HIGH})", "high": f"high (above {HIGH})"}


def figure(run: Record) -> Figure | None:
    """The mean cosine by bin, with the bin's windows; the light band is where OOD's normal bin has to be."""
    parts = {part: numbers for part, numbers in run.by_part("E").items() if any(name in numbers for name in BINS)}
    if not parts:
        return None
    gate = run.result.gates["E"]
    limit = run.config["five_cat"]["thresholds"]["e"]["difference"]
    difference = gate.difference.value if gate.difference else None
    asks = f"passes when the normal bins of VAL and OOD differ by at most {limit:g}"
    asks += f"; {gate.reason}" if difference is None and gate.reason else ""
    asks += f"; they differ by {signed(difference)}" if difference is not None else ""
    figure, (axes,) = _style.new(_style.title("E", gate), asks)
    middle = list(BINS).index("normal")
    centre = parts.get("val", {}).get("normal", Number(None)).value
    if centre is not None:
        reach = (middle - 0.35, middle + 0.35)
        axes.fill_between(reach, centre - limit, centre + limit, color=_style.COLOURS["val"], alpha=0.12, linewidth=0)
    for place, (part, numbers) in zip((-0.08, 0.08), parts.items(), strict=False):
        x_X = np.arange(len(BINS)) + place
        points = curve(numbers, list(BINS))
        _style.draw_curve(axes, x_X, points, part, part.upper(), linestyle="none", markersize=7)
        # Points of the page, so that a marker never covers them.
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7}
        look |= {"xytext": (-7, 0), "ha": "right"} if place < 0 else {"xytext": (7, 0), "ha": "left"}
        for x, name, value in zip(x_X, BINS, points[0], strict=True):
            if name in numbers:
                axes.annotate(str(numbers[name].windows), (x, value), color=_style.COLOURS[part], **look)
    axes.set_xticks(range(len(BINS)), list(BINS.values()))
    axes.set_xlim(-0.5, len(BINS) - 0.5)
    axes.set_xlabel("mean cosine of adjacent context vectors; beside each point its windows", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and target", fontsize=8)
    _style.legend(axes)
    return figure
