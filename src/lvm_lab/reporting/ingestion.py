"""What is shown of an ingestion: a bar while it is at work, and what it made at the end; no torch."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lvm_lab.config.command import command
from lvm_lab.config.ingest import IngestSettings
from lvm_lab.reporting import codes, terminal
from lvm_lab.reporting.numbers import counted, fixed, percent, signed, whole
from lvm_lab.reporting.terminal import mark

log = logging.getLogger(__name__)

# Without a terminal a line that often, in seconds.
EVERY = 30.0
HOUR, MINUTE = 3600.0, 60.0


class Bar:
    """Counts documents and chunks as they come; how many there will be nobody knows before they are read."""

    def __init__(self, console: Console, name: str) -> None:
        self.name, self.documents, self.chunks = name, 0, 0
        self.started = self.last = time.monotonic()
        self.progress: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[n]}"),
            )
            self.progress = Progress(*columns, console=console, refresh_per_second=4, transient=True)
            self.task = self.progress.add_task(name, total=None, n="")

    def __call__(self, documents: int, chunks: int) -> None:
        self.documents, self.chunks = self.documents + documents, self.chunks + chunks
        now = time.monotonic()
        rate = self.chunks / max(1e-9, now - self.started)
        state = f"{counted(self.documents, 'document')}, {counted(self.chunks, 'chunk')}, {rate:,.0f} chunks/s"
        if self.progress is not None:
            self.progress.update(self.task, n=state)
        elif now - self.last >= EVERY:
            self.last = now
            log.info("%s: %s", self.name, state)


@contextmanager
def bar(console: Console, name: str) -> Iterator[Bar]:
    one = Bar(console, name)
    if one.progress is None:
        yield one
        return
    with one.progress:
        yield one


def close(state: str, record: dict[str, Any], settings: IngestSettings, console: Console) -> None:
    """The last words of a job. state: as of `lvm_lab.jobs.ingestion.ingest`."""
    if state == "waiting":
        missing = ", ".join(map(str, record["missing"]))
        console.print(
            f"{settings.name}: done; the store is made when shard {missing} is", highlight=False, markup=False
        )
        return
    if state == "already":
        console.print(f"{settings.out} was finished already", highlight=False, markup=False)
        if settings.job:
            # The first job shows what is the same for all.
            return
    console.print(sources_table(record), stages_table(record))
    if record.get("tmd"):
        codes.show(record["tmd"], console)
    for line in _lines(record):
        console.print(line, highlight=False, markup=False)
    # As a shell takes it, in one line whatever the terminal's width.
    typed = command("train", "data=npz", shlex.quote(f"data.path={settings.out}"))
    console.print(f"the store is {settings.out}: {typed}", highlight=False, markup=False, soft_wrap=True)


def sources_table(record: dict[str, Any]) -> Table:
    """A line a source; its checks, where they were made."""
    heads = ["source", "documents", "chunks", "coherence", "signal", "data gate", "arrow of time", "repeated", "twice"]
    grid = terminal.table(heads, right={*heads[1:5], *heads[7:]}, title="what was made, by source")
    for source, counts in record["sources"].items():
        grid.add_row(escape(source), whole(counts["documents"]), whole(counts["chunks"]), *_checked(record, source))
    return grid


def stages_table(record: dict[str, Any]) -> Table:
    grid = terminal.table(["stage", "seconds", "share", "ms a document"], {"seconds", "share", "ms a document"})
    for name, stage in record["stages"].items():
        share = stage["seconds"] / record["seconds"] if record["seconds"] else 0.0
        grid.add_row(name, fixed(stage["seconds"], 1), percent(share), fixed(1000 * stage["per_document"], 2))
    return grid


def show_estimate(estimate: dict[str, Any], console: Console) -> None:
    """What a dry run says."""
    about = "about " if estimate["chunks_estimated"] else ""
    console.print(
        f"{counted(estimate['documents'], 'document')}, {about}{counted(estimate['chunks'], 'chunk')}, "
        f"{counted(estimate['tokens'], 'token')}{_left_out(estimate)}",
        highlight=False,
        markup=False,
    )
    if (cut := _cut(estimate)) is not None:
        console.print(cut, highlight=False)
    jobs = f" with {estimate['shards']} jobs that run at once" if estimate["shards"] > 1 else ""
    console.print(
        f"about {_span(estimate['seconds'])}{jobs} ({estimate['chunks_per_second']:,.0f} chunks a second and "
        f"job), {estimate['bytes'] / 1e9:.3f} GB of vectors; nothing was written",
        highlight=False,
    )


def _span(seconds: float) -> str:
    for unit, name in ((HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"


def _checked(record: dict[str, Any], source: str) -> list[str]:
    check = (record["checks"] or {}).get(source)
    if check is None:
        return [""] * 6
    repeated = [percent(check["repeated_share"], 1), whole(check["near_duplicates"])]
    gate = check["gate"]
    if gate is None:
        return ["", "", mark(None), "", *repeated]
    arrow = gate["arrow"]["verdict"]
    return [fixed(gate["coherence"]), signed(gate["signal"]), mark(gate["passed"]), arrow, *repeated]


def _lines(record: dict[str, Any]) -> Iterator[str]:
    for source, check in (record["checks"] or {}).items():
        if check["gate"] is None:
            yield f"{source}: the data gate cannot be measured: {check['reason']}"
        elif check["gate"]["failed"]:
            yield f"{source}: {'; '.join(check['gate']['failed'])}"
    if record["checks"]:
        yield "repeated: share of the chunks that stand in several documents; twice: documents nearly all of whose do"
    yield (
        f"{counted(record['documents'], 'document')}, {counted(record['chunks'], 'chunk')}, "
        f"{record['chunks_per_second'] or 0:,.0f} chunks a second{_left_out(record)}"
    )
    if (cut := _cut(record)) is not None:
        yield cut


def _left_out(record: dict[str, Any]) -> str:
    reasons = ", ".join(f"{whole(count)} {reason}" for reason, count in record["left_out"].items())
    return f"; documents left out: {reasons}" if reasons else ""


def _cut(record: dict[str, Any]) -> str | None:
    """What the encoder's limit cuts off; None where it has none."""
    if record["token_limit"] is None:
        return None
    share = percent(record["cut_share"], 1)
    return f"{share} of the chunks are longer than the encoder's {record['token_limit']} tokens and were cut there"
