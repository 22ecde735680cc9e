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
    parts = [part for part in PARTS if f"{part}_raw_mean_D" in run.moments]
    if not parts:
        return None
    low, high = STD_RATIO
    ratios = [f"{part.upper()} {ratio:.2f}" for part in parts if (ratio := _median_ratio(run, part)) is not None]
    asks = f"wanted: points on the line, and a std ratio of {low:g} to {high:g}; its median is {', '.join(ratios)}"
    figure, panels = _style.new("Moments of raw against the encoder's", asks, columns=2)
    for axes, name in zip(panels, ("mean", "std"), strict=True):
        both = []
        for part in parts:
            encoder_D, raw_D = run.moments[f"{part}_target_{name}_D"], run.moments[f"{part}_raw_{name}_D"]
            look: dict[str, Any] = {"s": 9, "alpha": 0.55, "linewidths": 0, "marker": _style.MARKERS[part]}
            axes.scatter(encoder_D, raw_D, color=_style.COLOURS[part], label=part.upper(), **look)
            both.append((encoder_D.min(), encoder_D.max()))
        ends = np.array([min(x for x, _ in both), max(x for _, x in both)])
        slopes = (1.0,) if name == "mean" else (1.0, low, high)
        for slope in slopes:
            dashes: Any = "-" if slope == 1 else (0, (5, 3))
            axes.plot(ends, slope * ends, color=_style.GREY, linewidth=0.9, linestyle=dashes)
        axes.set_title(f"{name}, {len(run.moments[f'{parts[0]}_raw_{name}_D'])} dimensions", fontsize=8)
        axes.set_xlabel("encoder", fontsize=8)
        axes.locator_params(axis="x", nbins=5)
    panels[0].set_ylabel("raw", fontsize=8)
    _style.legend(panels[0])
    return figure


def _median_ratio(run: Record, part: str) -> float | None:
    numbers = run.result.part(part)
    return numbers.spreads.get("std_ratio", {}).get("median") if numbers else None
