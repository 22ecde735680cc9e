"""The tables that a run shows: gates with their thresholds, and the model with what it had to beat; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich import box
from rich.table import Table

from lvm_lab.reporting import terminal, words
from lvm_lab.reporting.numbers import fixed, interval, percent
from lvm_lab.runs.judgement import Half, Summary
from lvm_lab.runs.result import PARTS, Result


def part_table(title: str, halves: Mapping[str, Half], val: Mapping[str, Half] | None = None) -> Table:
    """The halves of one part, a row a number that has a threshold, and whether it is reached.

    val: VAL's, whose values stand beside them.
    """
    beside = ("VAL",) if val else ()
    heads = ("gate", "number", *beside, "value", "95% interval", "threshold", "")
    table = terminal.table(heads, (*beside, "value", "threshold"), title=title)
    for letter, half in halves.items():
        if letter in words.OF_BOTH:
            continue
        for gate, name, *cells in _gate_rows(letter, half):
            chosen = val[letter].numbers.get(name) if val and letter in val else None
            table.add_row(gate, name, *([fixed(chosen.value) if chosen else ""] if val else []), *cells)
    return table


def closing_tables(result: Result) -> list[Table]:
    """Every gate of the finished run, and the model with what it had to beat."""
    tables = []
    for part in PARTS:
        if halves := result.halves(part):
            title = f"5CAT on {words.part(part)}"
            # VAL chose the checkpoint, and test says what is left of that.
            val = result.halves("val") if part == "test" else None
            tables.append(part_table(f"{title}, which chose nothing" if val else title, halves, val))
    return [*tables, _comparison(result)] if result.baselines else tables


def verdict_line(result: Result) -> str:
    """The verdict in one line of rich markup."""
    verdict = result.verdict
    if verdict is None:
        return f"{result.name}: {result.status}; not judged (5cat=off)"
    marks = "  ".join(f"{letter} {terminal.mark(gate.state)}" for letter, gate in verdict.gates.items())
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"5CAT {verdict.passed} of {verdict.of}: [bold]{verdict.verdict}[/]{reason}   {marks}"


def _gate_rows(letter: str, half: Half) -> Iterator[tuple[str, ...]]:
    if half.state is None:
        yield letter, "", "", "", "", f"{terminal.mark(None)} {half.reason or ''}"
    for name, number in half.numbers.items():
        if number.threshold is None:
            continue
        mark = terminal.mark(number.passed) + (" [yellow](undecided)[/]" if number.undecided else "")
        yield letter, name, fixed(number.value), interval(number.interval), fixed(number.threshold), mark


def _comparison(result: Result) -> Table:
    """Fits a terminal of 80 columns; the gates' own tables have the rest."""
    oracle = result.baseline_summaries.get("oracle")
    heads = ("", *(head for head, _ in words.COMPARED), "gates", *(["oracle"] if oracle else []))
    look = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False, "show_edge": False}
    table = terminal.table(heads, heads[1:], title="the model beside what it had to beat (VAL)", **look)
    for column in table.columns:
        column.no_wrap = True
    (model, own), *others = result.summaries
    table.add_row(model, *_cells(own, oracle), style="bold")
    if result.skill:
        shares = result.shares("val")
        values = (shares[key].value if key in shares else None for _, key in words.COMPARED)
        table.add_row(" skill", *map(percent, values))
    for name, summary in others:
        table.add_row(words.predictor(name), *_cells(summary, oracle))
    notes = ["skill: share of the way from the best trivial one to perfect"] if result.skill else []
    notes += _following(result)
    for name, reason in result.not_fitted.items():
        table.add_row(words.predictor(name), *[""] * len(words.COMPARED), style="yellow")
        notes.append(f"{words.predictor(name)}: not fitted: {reason}")
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def _following(result: Result) -> Iterator[str]:
    """A line under the table, which has no room for one more column; none where nothing could be measured."""
    following, key = result.following("val"), words.FOLLOWING[1]
    chance = following.numbers.get("chance_mrr") if following else None
    if following is None or chance is None:
        return
    shown = [f"{words.predictor(name)} {fixed(s.val[key])}" for name, s in result.summaries if key in s.val]
    yield (
        f"following (MRR among the target and all later chunks, {following.targets:,} targets from row "
        f"{following.judge_from} on, chance {fixed(chance.value)}): {', '.join(shown)}"
    )


def _cells(summary: Summary, oracle: Summary | None) -> list[str]:
    cells = [*(fixed(summary.val.get(key)) for _, key in words.COMPARED), f"{summary.passed}/{summary.of}"]
    if oracle is None:
        return cells
    value, reachable = (one.val.get("A/cos") for one in (summary, oracle))
    return [*cells, percent(value / reachable) if value is not None and reachable else ""]
