"""What came of documents at every stage of the pipeline, predictors side by side; no torch."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lvm_lab.reporting import terminal, words
from lvm_lab.reporting.numbers import counted, fixed, interval, percent, signed

Written = Callable[[float | None], str]
hundreds: Written = partial(fixed, digits=1)
# A number's key, what it is called, how it is written; None: a line that says what the next ones are.
ROWS: tuple[tuple[str | None, str, Written], ...] = (
    (None, "cosines", fixed),
    ("prediction", "prediction to truth", fixed),
    ("round_trip", "decoded to prediction", fixed),
    ("decoded", "decoded to truth", fixed),
    ("smoothed_to_decoded", "smoothed to decoded", fixed),
    ("smoothed_to_truth", "smoothed to truth", fixed),
    (None, "what was read left out", fixed),
    ("r1_unseen", "R@1", fixed),
    ("r5_unseen", "R@5", fixed),
    ("r10_unseen", "R@10", fixed),
    ("mrr_unseen", "MRR", fixed),
    ("exact", "exact match", percent),
    ("overlap", "word overlap", fixed),
    ("rouge_l", "ROUGE-L", fixed),
    ("bleu", "BLEU", hundreds),
    ("chrf", "chrF", hundreds),
    (None, "nothing left out", fixed),
    ("r1", "R@1", fixed),
    ("exact_nearest", "exact match", percent),
    ("copied", "nearest was read", percent),
)
# Those whose differences are shown; --json has all.
COMPARED = ("prediction", "decoded", "mrr_unseen", "chrf", "exact_nearest")
CONTROLS = {"A": "A: the truth", "B": "B: at unit length"}
NAME_WIDTH = 14
# Windows whose texts a terminal gets, and how much of each.
EXAMPLES, LONGEST = 2, 160


def show(report: Mapping[str, Any], skipped: Mapping[str, str], console: Console) -> None:
    """report: as `lvm_lab.jobs.pipeline.Report` has it; skipped: what was passed over and why."""

    def say(line: str) -> None:
        console.print(terminal.plain(line), highlight=False, markup=False, soft_wrap=True)

    for path, reason in skipped.items():
        say(f"skipped {path}: {reason}")
    for line in heading(report):
        say(line)
    console.print(table(report))
    if report["comparisons"]:
        console.print(differences(report))
    for line in examples(report):
        say(line)


def heading(report: Mapping[str, Any]) -> Iterator[str]:
    """What went through, by what, and how its first stages did."""
    documents, asked = report["documents"], report["asked"]
    fewer = f" ({asked} were asked for)" if documents < asked else ""
    yield f"{report['store']}, {words.part(report['part'])}: {counted(documents, 'document')}{fewer}, a window of each"
    yield f"encoder {report['encoder']}; decoder {report['decoder']}"
    stages = report["stages"]
    if "chunks" in stages:
        yield f"chunks: {percent(stages['chunks']['value'], 1)} come back when their text is cut again"
    if "encoder" in stages:
        yield f"encoder: vectors made again have a cosine of {fixed(stages['encoder']['value'], 4)} to the store's"
    yield (
        f"left out as candidates: the {report['left_out']} chunks that a window reads; all others of the store's "
        f"{report['candidates']:,} stay, training documents' too"
    )
    yield from (f"note: {note}" for note in report["notes"])


def table(report: Mapping[str, Any]) -> Table:
    """A line a number, a column a predictor."""
    predictors = report["predictors"]
    names = [escape(terminal.lines(_title(one), NAME_WIDTH)) for one in predictors]
    grid = terminal.table(("", *names), names)
    for key, title, write in ROWS:
        if key is None:
            grid.add_row(f"[dim]{title}[/]")
        # A smoother may have answered for some alone.
        elif any(key in one["numbers"] for one in predictors):
            grid.add_row(f" {title}", *(write(one["numbers"].get(key, {}).get("value")) for one in predictors))
    return grid


def differences(report: Mapping[str, Any]) -> Table:
    """Every other predictor less the first, in what tells them apart."""
    tests = {(one["name"], one["number"]): one for one in report["comparisons"]}
    titles = {key: title for key, title, _ in ROWS if key} | {"exact_nearest": "exact, nothing left out"}
    first = report["comparisons"][0]["against"]
    heads = ("", "number", "difference", "95% interval", "p")
    title = f"less {escape(first)}, on the same windows; intervals and p (Holm) are over documents"
    grid = terminal.table(heads, heads[2:], title=title)
    for name in dict.fromkeys(name for name, _ in tests):
        for place, number in enumerate(COMPARED):
            test = tests[name, number]
            between = interval(test["interval"], signed)
            shown = escape(words.predictor(name)) if place == 0 else ""
            grid.add_row(shown, titles[number], signed(test["value"]), between, fixed(test["p_holm"]))
    return grid


def examples(report: Mapping[str, Any]) -> Iterator[str]:
    """The first windows' texts, the truth's before what was decoded of each predictor's vectors."""
    for window in report["windows"][:EXAMPLES]:
        yield ""
        yield f"row {window['row']:,}: {_shortened(window['target'])}"
        for one in report["predictors"]:
            decoded = window["decoded"][one["name"]]
            text = _shortened(decoded.get("smoothed", decoded["text"]))
            yield f"  {_title(one):<20} {fixed(decoded['decoded'], 2)}  {text}"


def _title(one: Mapping[str, Any]) -> str:
    return CONTROLS[one["name"]] if one["kind"] == "encoder" else words.predictor(one["name"])


def _shortened(text: str) -> str:
    return textwrap.shorten(text, LONGEST, placeholder=" ...") or "(nothing)"
