"""Gate B: how often the target is among the k nearest chunks of its document."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lvm_lab.reporting.numbers import fixed
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve, points
from lvm_lab.runs.judgement import Number

ALL, UNSEEN = "", "_unseen"


def figure(run: Record) -> Figure | None:
    """R@k against k, left among all chunks of the document, right without those of the context."""
    parts = run.by_part("B")
    if not parts:
        return None
    limits = [_style.thresholds(n[name] for n in parts.values()) for name in ("r1", "r5", "mrr")]
    asks = f"passes when R@1 reaches {limits[0]}, R@5 {limits[1]} and MRR {limits[2]} ({_style.parts(parts)})"
    figure, panels = _style.new(_style.title("B", run.result.gates["B"]), asks, columns=2)
    for axes, suffix in zip(panels, (ALL, UNSEEN), strict=True):
        _panel(axes, run, parts, suffix)
    panels[0].set_title("all chunks of the document", fontsize=8)
    panels[0].set_ylabel("R@k", fontsize=8)
    panels[1].set_title("without the context's chunks (no threshold)", fontsize=8)
    return figure


def _panel(axes: Axes, run: Record, parts: dict[str, dict[str, Number]], suffix: str) -> None:
    names = points(parts, rf"r\d+{suffix}", _rank)
    ranks = [_rank(name) for name in names]
    if names:
        _style.draw_baselines(axes, run, "B", ranks, names)
    for part, numbers in parts.items():
        mrr = numbers.get(f"mrr{suffix}")
        label = f"{part.upper()}" + (f", MRR {fixed(mrr.value)}" if mrr else "")
        _style.draw_curve(axes, ranks, curve(numbers, names), part, label)
        chance_X = curve(numbers, [f"chance_{name}" for name in names])[0]
        if not np.isnan(chance_X).all():
            look: dict[str, Any] = {"color": _style.COLOURS[part], "linewidth": 0.8, "linestyle": ":", "alpha": 0.7}
            axes.plot(ranks, chance_X, label=f"{part.upper()}, chance", **look)
        for name in names:
            if name in numbers:
                _style.threshold(axes, numbers[name], part, (_rank(name) - 0.4, _rank(name) + 0.4))
        if suffix == UNSEEN and (following := run.result.following(part)) and not following.reason:
            own, chance = (fixed(following.numbers[name].value) for name in ("mrr", "chance_mrr"))
            # A line of words alone: its candidates are others than the curve's.
            axes.plot([], [], " ", label=f"{part.upper()}, following: MRR {own}, chance {chance}")
    axes.set_xticks(ranks)
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlabel("k", fontsize=8)
    _style.legend(axes)


def _rank(name: str) -> int:
    return int(name.partition("_")[0][1:])
