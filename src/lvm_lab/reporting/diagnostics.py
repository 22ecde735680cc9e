"""The diagnostics of a model and of data as tables and lines for the terminal; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lvm_lab.config.thresholds import DATA_COHERENCE, DATA_SIGNAL
from lvm_lab.reporting import terminal
from lvm_lab.reporting.numbers import fixed, interval, signed

MEANS = {
    "cos": "cosine to the target",
    "gain_over_mean": "  over the training part's mean",
    "gain_over_copy": "  over copy-last",
    "last_margin": "  over its own cosine to the last vector",
}
SPREADS = {
    "effective_rank": "effective rank (participation ratio)",
    "pairwise_cos": "mean pairwise cosine",
    "diversity": "share of dimensions with a std above .01",
}
RIDGES = {"forwards": "ridge fitted forwards", "backwards": "ridge fitted backwards", "difference": "difference"}
SIDES = {
    "from_before": "same targets told from before",
    "from_after": "same targets told from after",
    "easier": "same targets difference",
}

# The arrow of time is a matter of small differences.
finer = partial(fixed, digits=4)


def model_table(title: str, numbers: dict[str, Any]) -> Table:
    """The diagnostics of one part; a number that the targets have too stands next to theirs."""
    heads = ("", "predictions", "targets", "95% interval")
    table = terminal.table(heads, heads[1:], title=title)
    for name, description in MEANS.items():
        number = numbers[name]
        table.add_row(description, fixed(number["value"]), "", interval(number["interval"]))
    for name, description in SPREADS.items():
        table.add_row(description, fixed(numbers[name]["prediction"]), fixed(numbers[name]["target"]), "")
    for prefix, output in (("", "raw"), ("unit_", "unit")):
        ratio = numbers[f"{prefix}std_ratio"]
        ends = f"{fixed(ratio['low'])} .. {fixed(ratio['high'])} (5% .. 95%)"
        table.add_row(f"std ratio of {output}, median dimension", fixed(ratio["median"]), "1", ends)
        table.add_row(f"mean |z| of {output}'s means", fixed(numbers[f"{prefix}mean_z"]), "0", "")
    return table


def finding_lines(numbers: dict[str, Any]) -> list[str]:
    """One line an alarm, or one that says that there is none."""
    if numbers["not_finite"]:
        return [f"NOT FINITE: {numbers['not_finite']} of {numbers['windows']} predictions; check the learning rate"]
    return [f"{a['name'].upper()}: {a['measured']}; check {a['check']}" for a in numbers["alarms"]] or ["no alarm"]


def data_table(data_gate: dict[str, Any]) -> Table:
    """The data gate with what it asks for, and what the two ridges of the arrow of time score."""
    heads = ("", "value", "95% interval", "wanted")
    table = terminal.table(heads, heads[1:], title="the data gate (training part)")
    table.add_row("coherence (adjacent context vectors)", fixed(data_gate["coherence"]), "", f">= {DATA_COHERENCE:.2f}")
    table.add_row("signal (last less first, to the target)", signed(data_gate["signal"]), "", f">= {DATA_SIGNAL:+.2f}")
    table.add_row("position curve, oldest first", " ".join(fixed(c) for c in data_gate["curve"]), "", "rising")
    numbers = data_gate["arrow"]["numbers"]
    for measure, title in (("cos", "cosine"), ("mrr", "unseen MRR")) if numbers else ():
        table.add_section()
        for name, description in (RIDGES | SIDES).items():
            number = numbers[f"{measure}_{name}"]
            table.add_row(f"{title}, {description}", finer(number["value"]), interval(number["interval"], finer), "")
    return table


def arrow_line(arrow: dict[str, Any]) -> str:
    """The arrow of time in a line."""
    if arrow["reason"]:
        return f"{arrow['verdict']} ({arrow['reason']})"
    apart = arrow["numbers"]["cos_difference"]
    low, high = apart["interval"]
    ends = f"cosine {apart['value']:+.4f}, 95% {low:+.4f} to {high:+.4f}"
    return f"{arrow['verdict']} (a ridge fitted forwards less one fitted backwards: {ends})"


def data_gate_lines(data_gate: dict[str, Any]) -> Iterator[str]:
    """The data gate's verdict, the arrow's, and which side of a vector tells more of it."""
    yield "data gate passed" if data_gate["passed"] else f"data gate FAILED: {'; '.join(data_gate['failed'])}"
    yield f"arrow of time: {arrow_line(data_gate['arrow'])}"
    if not data_gate["arrow"]["reason"]:
        easier = data_gate["arrow"]["easier"]
        yield f"easier told {easier}" if easier != "undecided" else "neither side of a vector clearly tells more of it"


def show_models(numbers: Mapping[str, dict[str, Any]], skipped: Mapping[str, str], part: str, console: Console) -> None:
    """What was measured of each checkpoint, after what was passed over and why."""
    for path, reason in skipped.items():
        console.print(f"skipped {path}: {reason}", highlight=False, markup=False)
    for path, measured in numbers.items():
        if "alarms" in measured:
            sample = f"{measured['windows']} windows of {measured['documents']} documents"
            console.print(model_table(f"{escape(path)}, {part.upper()}: {sample}", measured))
        for line in finding_lines(measured):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
