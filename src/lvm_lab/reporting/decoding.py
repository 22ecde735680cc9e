"""What decoders made of vectors, as a table of means and window by window; no torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lvm_lab.reporting import terminal
from lvm_lab.reporting.numbers import counted, fixed, percent

# By the vectors' names: a letter, and what they are.
VECTORS = {"encoder": ("A", "the encoder's"), "unit": ("B", "the same at unit length"), "raw": ("C", "the model's raw")}
# Characters of a text that a terminal gets; --json has all.
LONGEST = 200


def show(decodings: Sequence[Any], skipped: Mapping[str, str], console: Console) -> None:
    """Each checkpoint's decodings (`lvm_lab.jobs.decoding.Decoding`), after what was passed over and why."""
    for path, reason in skipped.items():
        console.print(f"skipped {path}: {reason}", highlight=False, markup=False)
    for decoding in decodings:
        console.print(table(decoding))
        for line in lines(decoding):
            console.print(terminal.plain(line), highlight=False, markup=False, soft_wrap=True)


def table(decoding: Any) -> Table:
    """A line for each of the three vectors."""
    heads = ("", "vector", "round trip", "to the target", "same text")
    title = f"{escape(decoding.checkpoint)}, {decoding.part.upper()}: {counted(len(decoding.windows), 'window')}"
    grid = terminal.table(heads, heads[2:], title=title)
    for vector, (letter, what) in VECTORS.items():
        means = decoding.means(vector)
        grid.add_row(letter, what, fixed(means["round_trip"]), fixed(means["to_target"]), percent(means["same_text"]))
    return grid


def lines(decoding: Any) -> Iterator[str]:
    """What it was decoded by, and every window's texts."""
    yield f"decoder {decoding.decoder}; encoder {decoding.encoder}"
    yield "round trip: cosine of the text's own vector to the one decoded; to the target: to the encoder's"
    yield from (f"note: {note}" for note in decoding.notes)
    for window in decoding.windows:
        yield from _window(window)


def _window(window: Any) -> Iterator[str]:
    yield ""
    yield f"row {window.row:<8,}   target         {_shortened(window.target or 'has no text in the store')}"
    for vector, (letter, _) in VECTORS.items():
        one = window.decoded[vector]
        yield f"  {letter}   {fixed(one.round_trip):>6}  {fixed(one.to_target):>6}             {_shortened(one.text)}"


def _shortened(text: str) -> str:
    return textwrap.shorten(text, LONGEST, placeholder=" ...") or "(nothing)"
