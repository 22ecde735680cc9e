"""Two runs side by side in the terminal; no torch."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.markup import escape

from lvm_lab.config.conf import spell_back
from lvm_lab.reporting import terminal, words
from lvm_lab.reporting.numbers import fixed, interval, signed

NAME_WIDTH = 24
# Numbers without a gate: the head of each, and the gate's number that says nearly the same.
BY_WINDOW = {
    "cos": ("cos", "A/cos"),
    "mrr_unseen": ("unseen", "B/mrr_unseen"),
    "across_documents": ("across", None),
    "store_mrr_unseen": ("store", None),
}
LEGEND = "difference: the second less the first, on the same windows; intervals and p are over documents"
# Digests tell runs apart by their first letters.
LONGEST = 40


def show(report: dict[str, Any], console: Console) -> None:
    """What differs in the configs, then each part's numbers with their paired differences, and gate A's curves."""
    names = [terminal.lines(run["name"], NAME_WIDTH) for run in report["runs"]]
    if report["config"]:
        grid = terminal.table(("setting", *map(escape, names)), title="what differs in the configs")
        for key, values in report["config"].items():
            grid.add_row(escape(spell_back(key)), *(escape(_value(value)) for value in values))
        console.print(grid)
    else:
        console.print("the configs do not differ in anything that a run computes")
    if report["reason"]:
        console.print(f"no numbers are compared: {report['reason']}", highlight=False, markup=False, soft_wrap=True)
    for part, judged in report["parts"].items():
        size = f"{judged['windows']:,} windows of {judged['documents']} documents"
        console.print(_numbers(f"{words.part(part)}, {size}", names, judged["numbers"]))
        if judged["offsets"]:
            console.print(_offsets(f"{words.part(part)}: cosine by offset (gate A)", names, judged["offsets"]))
    if report["parts"]:
        console.print(LEGEND, highlight=False)


def _numbers(title: str, names: list[str], numbers: dict[str, Any]) -> Any:
    heads = ("number", *map(escape, names), "difference", "95% interval", "p")
    grid = terminal.table(heads, heads[1:], title=title)
    shown = [(head, key) for head, key in words.compared([numbers]) if key in numbers]
    shown += [(head, key) for key, (head, gate) in BY_WINDOW.items() if key in numbers and gate not in numbers]
    for head, key in shown:
        number = numbers[key]
        between = interval(number["interval"], signed)
        grid.add_row(head, *map(fixed, number["values"]), signed(number["value"]), between, fixed(number["p"]))
    return grid


def _offsets(title: str, names: list[str], offsets: dict[str, list[float | None]]) -> Any:
    grid = terminal.table(("", *offsets), (*offsets,), title=title)
    for place, name in enumerate(names):
        curve = [values[place] for values in offsets.values()]
        best = max((value for value in curve if value is not None), default=None)
        cells = [f"[bold]{fixed(value)}[/]" if value is not None and value == best else fixed(value) for value in curve]
        grid.add_row(escape(name), *cells)
    return grid


def _value(value: Any) -> str:
    """A setting as YAML would have it on one line, cut where it is long."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
