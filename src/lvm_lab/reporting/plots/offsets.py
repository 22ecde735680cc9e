"""Gate A: which of the neighbours the prediction looks like."""

from __future__ import annotations

from matplotlib.figure import Figure

from lvm_lab.reporting.numbers import signed
from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve, points


def figure(run: Record) -> Figure | None:
    """The cosine by offset. Beside k = +1 a short line shows what the margin asks for: the best other and more."""
    parts = run.by_part("A")
    if not parts:
        return None
    cos, margin = (_style.thresholds(n[name] for n in parts.values()) for name in ("cos", "margin"))
    asks = f"passes when cos(+1) reaches {cos} and leads every other offset by {margin} ({_style.parts(parts)})"
    figure, (axes,) = _style.new(_style.title("A", run.result.gates["A"]), asks)
    names = points(parts, r"k[+-]\d+", lambda name: int(name[1:]))
    offsets = [int(name[1:]) for name in names]
    _style.draw_baselines(axes, run, "A", offsets, names)
    for part, numbers in parts.items():
        label = f"{part.upper()}, margin {signed(numbers['margin'].value)}"
        _style.draw_curve(axes, offsets, curve(numbers, names), part, label)
        _style.threshold(axes, numbers["cos"], part)
        others = [value for name in names if name != "k+1" and (value := numbers[name].value) is not None]
        _style.threshold(axes, numbers["margin"], part, (0.7, 1.3), above=max(others))
    axes.axvline(1, color="#ececec", linewidth=6, zorder=0)
    axes.set_xticks(offsets, [f"{k:+d}" if k else "0" for k in offsets])
    start = "the target, as the old tool counts" if run.old_tool else "the last context vector; +1 is the target"
    axes.set_xlabel(f"offset from {start}", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and vector", fontsize=8)
    _style.legend(axes)
    return figure
