"""The diagnostics of a model and of data as tables and lines for the terminal; no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from lvm_lab.config.thresholds import DATA_COHERENCE, DATA_SIGNAL

MEANS = {
    "cos": "cosine to the target",
    "gain_over_mean": "  over the training part's mean",
    "gain_over_copy": "  over copy-last",
    "last_margin": "  over its own cosine to the last vector",
}
BESIDE = {
    "effective_rank": "effective rank (participation ratio)",
    "pairwise_cos": "mean pairwise cosine",
    "diversity": "share of dimensions with a std above .01",
}
RIDGES = ("forwards", "backwards", "difference")
SIDES = ("from_before", "from_after", "easier")


def model_table(title: str, numbers: dict[str, Any]) -> Table:
    """The diagnostics of one part; a number that the targets have too stands beside theirs."""
    table = Table(title=title, title_justify="left")
    for column in ("", "predictions", "targets", "95% interval"):
        table.add_column(column, justify="left" if column == "" else "right")
    for name, says in MEANS.items():
        table.add_row(says, show(numbers[name]["value"]), "", _interval(numbers[name]))
    for name, says in BESIDE.items():
        table.add_row(says, show(numbers[name]["prediction"]), show(numbers[name]["target"]), "")
    for prefix, says in (("", "raw"), ("unit_", "unit")):
        ratio = numbers[f"{prefix}std_ratio"]
        ends = f"{show(ratio['low'])} .. {show(ratio['high'])} (5% .. 95%)"
        table.add_row(f"std ratio of {says}, median dimension", show(ratio["median"]), "1", ends)
        table.add_row(f"mean |z| of {says}'s means", show(numbers[f"{prefix}mean_z"]), "0", "")
    return table


def finding_lines(numbers: dict[str, Any]) -> list[str]:
    """One line an alarm, or one that says that there is none."""
    if numbers["not_finite"]:
        return [f"NOT FINITE: {numbers['not_finite']} of {numbers['windows']} predictions; check the learning rate"]
    return [f"{a['name'].upper()}: {a['measured']}; check {a['check']}" for a in numbers["alarms"]] or ["no alarm"]


def data_table(gate: dict[str, Any]) -> Table:
    """The data gate with what it asks for, and what the two ridges of the arrow of time score."""
    table = Table(title="the data gate (training part)", title_justify="left")
    for column in ("", "value", "95% interval", "wanted"):
        table.add_column(column, justify="left" if column == "" else "right")
    curve = " ".join(show(c) for c in gate["curve"])
    table.add_row("coherence (adjacent context vectors)", show(gate["coherence"]), "", f">= {DATA_COHERENCE:.2f}")
    table.add_row("signal (last less first, to the target)", f"{gate['signal']:+.3f}", "", f">= {DATA_SIGNAL:+.2f}")
    table.add_row("position curve, oldest first", curve, "", "rising")
    numbers = gate["arrow"]["numbers"]
    for measure, says in (("cos", "cosine"), ("mrr", "unseen MRR")) if numbers else ():
        table.add_section()
        for name, what in zip(RIDGES, ("ridge fitted forwards", "ridge fitted backwards", "difference"), strict=True):
            table.add_row(f"{says}, {what}", *_cells(numbers[f"{measure}_{name}"]), "")
        for name, what in zip(SIDES, ("told from before", "told from after", "difference"), strict=True):
            table.add_row(f"{says}, same targets {what}", *_cells(numbers[f"{measure}_{name}"]), "")
    return table


def arrow_line(arrow: dict[str, Any]) -> str:
    """The arrow of time in a line."""
    if arrow["reason"]:
        return f"{arrow['verdict']} ({arrow['reason']})"
    apart = arrow["numbers"]["cos_difference"]
    low, high = apart["interval"]
    ends = f"cosine {apart['value']:+.4f}, 95% {low:+.4f} to {high:+.4f}"
    return f"{arrow['verdict']} (a ridge fitted forwards less one fitted backwards: {ends})"


def gate_lines(gate: dict[str, Any]) -> Iterator[str]:
    """The gate's verdict, the arrow's, and which side of a vector tells more of it."""
    yield "data gate passed" if gate["passed"] else f"data gate FAILED: {'; '.join(gate['failed'])}"
    yield f"arrow of time: {arrow_line(gate['arrow'])}"
    if not gate["arrow"]["reason"]:
        easier = gate["arrow"]["easier"]
        yield f"easier told {easier}" if easier != "undecided" else "neither side of a vector clearly tells more of it"


def show(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _cells(number: dict[str, Any]) -> tuple[str, str]:
    return show(number["value"], 4), _interval(number, 4)


def _interval(number: dict[str, Any], digits: int = 3) -> str:
    return " .. ".join(show(end, digits) for end in number["interval"]) if number["interval"] else ""
