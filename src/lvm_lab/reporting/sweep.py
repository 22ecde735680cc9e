"""The table of a dry run: each row of a schedule with what would be done and what that takes; no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lvm_lab.reporting.numbers import counted, whole
from lvm_lab.sweeps.plan import Forecast

COLUMNS = ("run", "week", "phase", "arch", "what", "time")
WORK = ("parameters", "TFLOP/epoch")
TERA = 1e12


def show(name: str, folder: Path, forecasts: Sequence[Forecast], console: Console | None = None) -> None:
    """The table, how many rows are to run, go on or be skipped, and the time and work of those where it is known."""
    console = console or Console(width=120)
    weighed = any(line.work or line.unread for line in forecasts)
    table = Table(title=f"schedule={name} in {folder}", title_justify="left")
    for column in (*COLUMNS, *(WORK if weighed else ())):
        table.add_column(column, no_wrap=True, justify="right" if column in WORK else "left")
    for line in forecasts:
        row, arch = line.row, line.row.arch or "the leaderboard says"
        cells = [row.id, str(row.week), str(row.phase), arch, line.action, _time(line)]
        table.add_row(*cells, *(_work(line) if weighed else ()))
    console.print(table)
    counts = Counter(line.action for line in forecasts)
    console.print(", ".join(f"{number} to {what}" for what, number in counts.items()), highlight=False)
    console.print(_in_all(forecasts), highlight=False)
    for sentence in _about_work(forecasts) if weighed else ():
        console.print(sentence, highlight=False)


def _in_all(forecasts: Sequence[Forecast]) -> str:
    measured = sum(line.seconds or 0.0 for line in forecasts if line.rate is None)
    by_work = sum(line.seconds or 0.0 for line in forecasts if line.rate)
    unknown = sum(line.seconds is None for line in forecasts)
    known = f"about {measured / 60:.1f} minutes one after the other" if measured else ""
    more = f"about {by_work / 3600:.1f} hours by their work for others" if by_work else ""
    rest = f"{unknown} rows of unknown time: none of their architecture is finished yet" if unknown else ""
    return "; ".join(filter(None, (known, more, rest))) or "nothing to run"


def _about_work(forecasts: Sequence[Forecast]) -> Iterator[str]:
    works = [line.work for line in forecasts if line.work]
    if works:
        epoch = sum(work.flop_per_epoch for work in works) / TERA
        training = sum(work.flop_per_epoch * work.epochs for work in works) / TERA
        yield (
            f"work: 6 floating-point operations a parameter and vector that is read: {epoch:,.1f} TFLOP for an epoch "
            f"of {counted(len(works), 'row')}, {training:,.1f} for all their epochs; it compares rows and is no time"
        )
    for rate in {line.rate for line in forecasts if line.rate}:
        yield (
            f"~: that work at {rate.flop_per_second / TERA:.3g} TFLOP/s, the median of "
            f"{counted(rate.runs, 'finished run')} here; architectures differ by several times"
        )
    for sentence, rows in Counter(line.unread for line in forecasts if line.unread).items():
        yield f"{counted(rows, 'row')} of unknown work: {sentence}"


def _time(line: Forecast) -> str:
    if line.seconds is None:
        return "unknown"
    return f"{'~ ' if line.rate else ''}{line.seconds:.0f} s" if line.seconds else ""


def _work(line: Forecast) -> tuple[str, str]:
    if line.work is None:
        return ("", "")
    return whole(line.work.parameters), f"{line.work.flop_per_epoch / TERA:,.2f}"
