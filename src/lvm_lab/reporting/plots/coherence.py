"""Gate E: whether the prediction is as good out of domain, at equal coherence of the context."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_lab.config.thresholds import NORMAL
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import PARTS, Record, curve

LOW, HIGH = (f"{edge:g}".lstrip("0") for edge in NORMAL)
BINS = {"low": f"low (below {LOW})", "normal": f"normal ({LOW} to {HIGH})", "high": f"high (above {HIGH})"}


def figure(run: Record) -> Figure | None:
    """The mean cosine by bin, with the bin's windows; the light band is where OOD's normal bin has to be."""
    found = {part: run.numbers("E", part) for part in PARTS}
    found = {part: numbers for part, numbers in found.items() if any(name in numbers for name in BINS)}
    if not found:
        return None
    gate = run.gate("E")
    limit = run.config["five_cat"]["thresholds"]["e"]["difference"]
    apart = gate.get("difference", {}).get("value")
    says = f"passes when the normal bins of VAL and OOD differ by at most {limit:g}"
    says += f"; {gate['reason']}" if apart is None and gate["reason"] else ""
    says += f"; they differ by {apart:+.3f}" if apart is not None else ""
    drawn, (axes,) = _style.new(_style.judged("E", gate["name"], gate["state"]), says)
    middle = list(BINS).index("normal")
    if "normal" in found.get("val", {}):
        centre = found["val"]["normal"]["value"]
        reach = (middle - 0.35, middle + 0.35)
        axes.fill_between(reach, centre - limit, centre + limit, color=_style.COLOURS["val"], alpha=0.12, linewidth=0)
    for place, (part, numbers) in zip((-0.08, 0.08), found.items(), strict=False):
        x_X = np.arange(len(BINS)) + place
        points = curve(numbers, list(BINS))
        _style.draw_curve(axes, x_X, points, part, part.upper(), linestyle="none", markersize=7)
        for x, name, value in zip(x_X, BINS, points[0], strict=True):
            if name in numbers:
                side: Any = "right" if place < 0 else "left"
                windows = str(numbers[name]["windows"])
                axes.text(x + place / 2, value, windows, ha=side, va="center", fontsize=7, color=_style.COLOURS[part])
    axes.set_xticks(range(len(BINS)), list(BINS.values()))
    axes.set_xlim(-0.5, len(BINS) - 0.5)
    axes.set_xlabel("mean cosine of adjacent context vectors; beside each point its windows", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and target", fontsize=8)
    _style.legend(axes)
    return drawn
