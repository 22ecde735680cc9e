"""Whether `raw` lives in the encoder's own distribution, a point a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lvm_lab.config.thresholds import STD_RATIO
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import PARTS, Record


def figure(run: Record) -> Figure | None:
    """Mean (left) and std (right) of raw against the same windows' targets."""
    found = [part for part in PARTS if f"{part}_raw_mean_D" in run.moments]
    if not found:
        return None
    low, high = STD_RATIO
    ratios = [f"{part.upper()} {run.result[part]['std_ratio']['median']:.2f}" for part in found if _known(run, part)]
    says = f"wanted: points on the line, and a std ratio of {low:g} to {high:g}; its median is {', '.join(ratios)}"
    drawn, panels = _style.new("Moments of raw against the encoder's", says, columns=2)
    for axes, name in zip(panels, ("mean", "std"), strict=True):
        both = []
        for part in found:
            encoder_D, raw_D = run.moments[f"{part}_target_{name}_D"], run.moments[f"{part}_raw_{name}_D"]
            look: dict[str, Any] = {"s": 9, "alpha": 0.55, "linewidths": 0, "marker": _style.MARKERS[part]}
            axes.scatter(encoder_D, raw_D, color=_style.COLOURS[part], label=part.upper(), **look)
            both.append((encoder_D.min(), encoder_D.max()))
        ends = np.array([min(x for x, _ in both), max(x for _, x in both)])
        slopes = (1.0,) if name == "mean" else (1.0, low, high)
        for slope in slopes:
            dashes: Any = "-" if slope == 1 else (0, (5, 3))
            axes.plot(ends, slope * ends, color=_style.GREY, linewidth=0.9, linestyle=dashes)
        axes.set_title(f"{name}, {len(run.moments[f'{found[0]}_raw_{name}_D'])} dimensions", fontsize=8)
        axes.set_xlabel("encoder", fontsize=8)
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_ylabel("raw", fontsize=8)
    _style.legend(panels[0])
    return drawn


def _known(run: Record, part: str) -> bool:
    return run.result[part].get("std_ratio", {}).get("median") is not None
