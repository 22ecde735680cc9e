"""The tables that a run shows: gates with their thresholds, and the model beside the baselines; no torch."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from lvm_lab.runs.result import JUDGED, Result

MARKS = {True: "[green]pass[/]", False: "[red]FAIL[/]", None: "[yellow]null[/]"}
COLUMNS = (
    ("cos", "A/cos"),
    ("margin", "A/margin"),
    ("R@1", "B/r1"),
    ("unseen", "B/mrr_unseen"),
    ("left-out", "C/left_out"),
    ("rollout", "D/rollout"),
)
NAMES = {
    "random": "random",
    "global_mean": "global mean",
    "copy_last": "copy-last",
    "mean_of_context": "mean-of-context",
    "exponential": "exponential",
    "nearest": "nearest",
    "ridge": "ridge",
    "linear_metric": "linear metric",
    "oracle": "oracle",
}


def gate_rows(table: Table, letter: str, half: dict[str, Any]) -> None:
    """One row a number of one gate's half; numbers with a threshold show it and whether it is reached."""
    if half["state"] is None:
        table.add_row(letter, "", "", "", "", f"{MARKS[None]} {half['reason'] or ''}")
    for name, number in half["numbers"].items():
        if "threshold" not in number:
            continue
        mark = MARKS[number["passed"]] + (" [yellow](undecided)[/]" if number["undecided"] else "")
        table.add_row(letter, name, _show(number["value"]), _interval(number), _show(number["threshold"]), mark)


def part_table(title: str, halves: dict[str, dict[str, Any]]) -> Table:
    """The halves of one part, as they are judged in training."""
    table = Table(title=title, title_justify="left")
    for column in ("gate", "number", "value", "95% interval", "threshold", ""):
        table.add_column(column, justify="right" if column in ("value", "threshold") else "left")
    for letter, half in halves.items():
        gate_rows(table, letter, half)
    return table


def closing_tables(result: Result) -> list[Table]:
    """Every gate of the finished run, and the model beside what it had to beat."""
    tables = []
    for part in JUDGED:
        node = getattr(result, part).get("five_cat") or {}
        halves = {letter: half for letter, half in node.get("halves", {}).items() if letter != "E"}
        if halves:
            tables.append(part_table(f"5CAT on {part.upper()}", halves))
    if result.baselines:
        tables.append(_comparison(result))
    return tables


def verdict_line(result: Result) -> str:
    """The verdict in one line of rich markup."""
    verdict = result.verdict
    if verdict is None:
        return f"{result.name}: {result.status}; not judged (5cat=off)"
    marks = "  ".join(f"{letter} {MARKS[gate.state]}" for letter, gate in verdict.gates.items())
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"5CAT {verdict.passed} of {verdict.of}: [bold]{verdict.verdict}[/]{reason}   {marks}"


def _comparison(result: Result) -> Table:
    oracle = result.baseline_summaries.get("oracle")
    # Fits a terminal of 80 columns; the gates' own tables have the rest.
    title = "the model beside what it had to beat (VAL)"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False
    )
    table.caption_justify = "left"
    for column in ("", *(head for head, _ in COLUMNS), "gates", *(["oracle"] if oracle else [])):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    # An arch may have a baseline's name: ridge and the linear metric can be trained too.
    for place, (name, summary) in enumerate(result.summaries):
        cells = [_show(summary.val.get(key)) for _, key in COLUMNS]
        cells.append(f"{summary.passed}/{summary.of}")
        if oracle:
            cells.append(_share(summary.val.get("A/cos"), oracle.val.get("A/cos")))
        table.add_row(NAMES.get(name, name) if place else name, *cells, style=None if place else "bold")
        if not place and result.skill:
            shares = result.shares("val")
            table.add_row(" skill", *(_percent(shares[key].value if key in shares else None) for _, key in COLUMNS))
    notes = ["skill: share of the way from the best trivial one to perfect"] if result.skill else []
    for name, reason in result.not_fitted.items():
        table.add_row(NAMES.get(name, name), *[""] * len(COLUMNS), style="yellow")
        notes.append(f"{NAMES.get(name, name)}: not fitted: {reason}")
    table.caption = "\n".join(notes) or None
    return table


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}" if value < 0 else f"{value:.3f}"


def _interval(number: dict[str, Any]) -> str:
    interval = number.get("interval")
    return f"{_show(interval[0])} .. {_show(interval[1])}" if interval else ""


def _share(value: float | None, of: float | None) -> str:
    return _percent(value / of) if value is not None and of else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
