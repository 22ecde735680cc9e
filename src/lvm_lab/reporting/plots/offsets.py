"""Gate A: which of the neighbours the prediction looks like."""

from __future__ import annotations

from matplotlib.figure import Figure

from lvm_lab.reporting.plots import _style
from lvm_lab.reporting.plots.record import Record, curve, points


def figure(run: Record) -> Figure | None:
    """The cosine by offset. Beside k = +1 a short line shows what the margin asks for: the best other and more."""
    found = run.by_part("A")
    if not found:
        return None
    gate = run.gate("A")
    cos, margin = (_style.thresholds([n[name] for n in found.values()]) for name in ("cos", "margin"))
    says = f"passes when cos(+1) reaches {cos} and leads every other offset by {margin} ({_style.parts(found)})"
    drawn, (axes,) = _style.new(_style.judged("A", gate["name"], gate["state"]), says)
    names = points(found, r"k[+-]\d+", lambda name: int(name[1:]))
    offsets = [int(name[1:]) for name in names]
    _style.beside(axes, run, "A", offsets, names)
    for part, numbers in found.items():
        _style.draw_curve(
            axes, offsets, curve(numbers, names), part, f"{part.upper()}, margin {numbers['margin']['value']:+.3f}"
        )
        _style.threshold(axes, numbers["cos"]["threshold"], part)
        others = [numbers[name]["value"] for name in names if name != "k+1"]
        needed = max(others) + numbers["margin"]["threshold"]
        _style.threshold(axes, needed, part, (0.7, 1.3))
    axes.axvline(1, color="#ececec", linewidth=6, zorder=0)
    axes.set_xticks(offsets, [f"{k:+d}" if k else "0" for k in offsets])
    start = "the target, as the old tool counts" if run.old_tool else "the last context vector; +1 is the target"
    axes.set_xlabel(f"offset from {start}", fontsize=8)
    axes.set_ylabel("mean cosine of prediction and vector", fontsize=8)
    _style.legend(axes)
    return drawn
