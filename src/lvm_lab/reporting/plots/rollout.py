"""Gate D: how fast predictions that are fed back lose the document."""

from __future__ import annotations

from matplotlib.figure import Figure

from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve, points


def figure(run: Record) -> Figure | None:
    """The cosine by step; the lines at the thresholds are for the mean over the steps."""
    found = run.by_part("D")
    if not found:
        return None
    gate = run.gate("D")
    limits = _style.thresholds([numbers["rollout"] for numbers in found.values()])
    says = f"passes when the mean over the steps reaches {limits} ({_style.parts(found)})"
    drawn, (axes,) = _style.new(_style.judged("D", gate["name"], gate["state"]), says)
    names = points(found, r"h\d+", lambda name: int(name[1:]))
    steps = [int(name[1:]) for name in names]
    _style.beside(axes, run, "D", steps, names)
    for part, numbers in found.items():
        label = f"{part.upper()}, mean {numbers['rollout']['value']:.3f}"
        _style.draw_curve(axes, steps, curve(numbers, names), part, label)
        _style.threshold(axes, numbers["rollout"]["threshold"], part)
    axes.set_xticks(steps)
    axes.set_xlabel("steps fed back", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and true vector", fontsize=8)
    _style.legend(axes)
    return drawn
