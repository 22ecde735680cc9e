"""What was written on from a text, and what each stage took; no torch."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from lvm_lab.reporting import terminal
from lvm_lab.reporting.numbers import counted, fixed, whole


def show(written: Any, latency: dict[str, dict[str, Any]], console: Console) -> None:
    """written: `lvm_lab.jobs.generation.Written`. latency: by stage, as `lvm_lab.text.generation.totals` gives it."""

    def say(line: str) -> None:
        console.print(terminal.plain(line), highlight=False, markup=False, soft_wrap=True)

    generation = written.generation
    say(f"{written.checkpoint}: decoder {written.decoder}; encoder {written.encoder}; mode {written.mode}")
    if written.smoother is not None and generation.smoothed is not None:
        say(f"-> is what the smoother ({written.smoother}) makes of the text above it")
    sampling = written.sampling
    if sampling.by is not None:
        drawn = f"{counted(sampling.draws or 0, 'draw')} of the head"
        source = drawn if sampling.by == "head" else "among the decoder's candidates"
        say(f"temperature {sampling.temperature:g}, {source}, seed {sampling.seed}")
    for note in written.notes:
        say(f"note: {note}")
    say(f"read the last {len(generation.read)} of {counted(generation.chunks, 'chunk')}, of which the last is:")
    say(f"       {generation.read[-1]}")
    for step, candidate in enumerate(generation.written, start=1):
        say(f"{step:>3}  {fixed(candidate.score, 2)}  {candidate.text}")
        if generation.smoothed is not None:
            say(f"     ->  {generation.smoothed[step - 1]}")
    if generation.ended:
        say(f"stopped behind step {len(generation.written)}, which ends its document")
    if generation.repeats is not None:
        say(f"stopped before step {len(generation.written) + 1}, which repeats: {generation.repeats}")
    console.print(table(latency))


def table(latency: dict[str, dict[str, Any]]) -> Table:
    """A line a stage."""
    heads = ("stage", "calls", "ms a call", "ms in all")
    grid = terminal.table(heads, heads[1:], title="latency")
    for stage, own in latency.items():
        grid.add_row(stage, whole(own["calls"]), fixed(1000 * own["mean"], 1), fixed(1000 * own["total"], 1))
    return grid
