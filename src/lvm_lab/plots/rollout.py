"""Gate D: how fast predictions that are fed back lose the document."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from lvm_lab.plots import _style
from lvm_lab.plots.record import PARTS, Record, curve
from lvm_lab.tables import NAMES


def figure(run: Record) -> Figure | None:
    """The cosine by step; the lines at the thresholds are for the mean over the steps."""
    found = {part: run.numbers("D", part) for part in PARTS}
    found = {part: numbers for part, numbers in found.items() if numbers}
    if not found:
        return None
    gate = run.gate("D")
    limits = _style.thresholds([numbers["rollout"] for numbers in found.values()])
    says = f"passes when the mean over the steps reaches {limits} ({_style.parts(found)})"
    drawn, (axes,) = _style.new(_style.judged("D", gate["name"], gate["state"]), says)
    names = sorted(
        {name for numbers in found.values() for name in numbers if re.fullmatch(r"h\d+", name)},
        key=lambda name: int(name[1:]),
    )
    steps = [int(name[1:]) for name in names]
    for name in _style.BESIDE:
        values = run.baseline(name, "D")
        if set(names) <= set(values):
            _style.beside(axes, steps, [values[h] for h in names], name, f"{NAMES[name]}, VAL")
    for part, numbers in found.items():
        label = f"{part.upper()}, mean {numbers['rollout']['value']:.3f}"
        _style.draw_curve(axes, steps, curve(numbers, names), part, label)
        _style.threshold(axes, numbers["rollout"]["threshold"], part)
    axes.set_xticks(steps)
    axes.set_xlabel("steps fed back", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and true vector", fontsize=8)
    _style.legend(axes)
    return drawn
