"""What is shown of an export to a database: a bar while rows are copied, and what was written; no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lvm_lab.reporting.numbers import counted

if TYPE_CHECKING:
    from lvm_lab.data.postgres.writing import Written

# Without a terminal a line that often, in seconds.
EVERY = 30.0


@contextmanager
def bar(table: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function that takes rows that were copied, and how many there are in all."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = None
        copied, last = 0, time.monotonic()

        def advance(rows: int, total: int) -> None:
            nonlocal task, copied, last
            copied += rows
            if console.is_terminal:
                # Nothing is drawn before rows come: until then a question may be asked.
                task = progress.add_task(table, total=total) if task is None else task
                progress.update(task, completed=copied)
            elif time.monotonic() - last >= EVERY:
                last = time.monotonic()
                print(f"{table}: {copied:,} of {total:,} rows copied", flush=True)

        yield advance


def show(written: Written, table: str) -> None:
    rows, documents = counted(written.rows, "row"), counted(written.documents, "document")
    notes = [f"{written.seconds:.1f} s", f"{written.per_second:,.0f} rows/s"]
    notes += [f"{written.kept:,} were copied before"] if written.kept else []
    notes += [f"in the place of {written.replaced:,}"] if written.replaced else []
    print(f"{table}: {rows} of {documents} ({', '.join(written.sources)}); {', '.join(notes)}")
    if written.losses:
        print(f"not in it: {'; '.join(written.losses)}")
