"""Gate D: how fast predictions that are fed back lose the document."""

from __future__ import annotations

from matplotlib.figure import Figure

from lvm_lab.reporting.numbers import fixed
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve, points


def figure(run: Record) -> Figure | None:
    """The cosine by step; the lines at the thresholds are for the mean over the steps."""
    parts = run.by_part("D")
    if not parts:
        return None
    limits = _style.thresholds(numbers["rollout"] for numbers in parts.values())
    asks = f"passes when the mean over the steps reaches {limits} ({_style.parts(parts)})"
    figure, (axes,) = _style.new(_style.title("D", run.result.gates["D"]), asks)
    names = points(parts, r"h\d+", lambda name: int(name[1:]))
    steps = [int(name[1:]) for name in names]
    _style.draw_baselines(axes, run, "D", steps, names)
    for part, numbers in parts.items():
        label = f"{part.upper()}, mean {fixed(numbers['rollout'].value)}"
        _style.draw_curve(axes, steps, curve(numbers, names), part, label)
        _style.threshold(axes, numbers["rollout"], part)
    axes.set_xticks(steps)
    axes.set_xlabel("steps fed back", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and true vector", fontsize=8)
    _style.legend(axes)
    return figure
