"""An evaluation as files, and as one table in the terminal; no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape

from lvm_lab.files import write_atomically
from lvm_lab.reporting import evaluation_numbers as lookup
from lvm_lab.reporting import evaluation_page, terminal, words
from lvm_lab.reporting.evaluation_page import HEADS, LEGEND
from lvm_lab.reporting.numbers import fixed

FIRST_COLUMNS = (
    "data",
    "name",
    "kind",
    "part",
    "windows",
    "documents",
    "checkpoint",
    "arch",
    "loss",
    "trained_on",
    "seed",
    "params",
    "reads",
)
# What the terminal has room for: own is unseen where all models read as much, and the store's rank makes room for it.
NARROW = ("cos", "margin", "unseen", "following", "store", "rollout")
# So that the terminal's table has 80 columns.
NAME_WIDTH, PART_WIDTH = 15, 8
NESTED = ("parts", "five_cat", "speed", "skill")


def write(report: dict[str, Any], folder: Path) -> None:
    """evaluation.json (everything), table.csv (a row a predictor and part) and evaluation.md, each whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "evaluation.json", json.dumps(report, indent=1, allow_nan=False))
    write_atomically(folder / "table.csv", _csv(report))
    write_atomically(folder / "evaluation.md", evaluation_page.page(report))


def show(report: dict[str, Any], folder: Path, console: Console) -> None:
    """One table of 80 columns, the checkpoints that its names stand for, and where the rest is."""
    table = terminal.table((), box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for head, width in (("", NAME_WIDTH), ("part", PART_WIDTH)):
        table.add_column(head, overflow="fold", max_width=width)
    mixed = any(len({p["reads"] for p in data["predictors"]}) > 1 for data in report["data"])
    shown = ["own" if head == "store" and mixed else head for head in NARROW]
    for head in (*shown, "gates", "ms"):
        table.add_column(head, justify="right", no_wrap=True)
    for data in report["data"]:
        for predictor in data["predictors"]:
            style = "bold" if predictor["kind"] == "model" else None
            for place, part in enumerate(predictor["parts"]):
                name = ms = ""
                if place == 0:
                    name = terminal.lines(words.predictor(predictor["name"]), NAME_WIDTH)
                    ms = fixed(predictor["speed"]["batch_1"]["p50_ms"], 2)
                cells = [fixed(lookup.number(predictor, part, *HEADS[head]).get("value")) for head in shown]
                cells += [lookup.gates(predictor, part), ms]
                table.add_row(escape(name), escape(terminal.lines(part, PART_WIDTH)), *cells, style=style)
        table.add_section()
    console.print(table)
    for data in report["data"]:
        for predictor in data["predictors"]:
            if predictor["checkpoint"]:
                console.print(
                    f"{predictor['name']}: {predictor['checkpoint']}", highlight=False, soft_wrap=True, markup=False
                )
        for name, reason in data["not_fitted"].items():
            line = f"{words.predictor(name)}: not fitted: {reason}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        for line in words.explained(data):
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        for note in data.get("notes", []):
            console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
        for reason in undecided(data):
            console.print(reason, highlight=False, soft_wrap=True, markup=False)
    for skipped in report["skipped"]:
        console.print(f"skipped: {skipped['reason']}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"{LEGEND} {evaluation_page.ONCE}", highlight=False)
    console.print(
        f"everything with intervals: {folder / 'evaluation.json'}", highlight=False, soft_wrap=True, markup=False
    )


def undecided(data: dict[str, Any]) -> list[str]:
    """Why the models of one data set have no verdict: the same reason of all of them once."""
    models = [p for p in data["predictors"] if p["kind"] == "model"]
    verdicts = [v for p in models for by_store in p["five_cat"].values() for v in by_store.values()]
    reasons = (f"5CAT undecided: {v['reason']}" for v in verdicts if v["verdict"] == "undecided")
    return list(dict.fromkeys(reasons))


def _csv(report: dict[str, Any]) -> str:
    rows = list(_rows(report))
    others = dict.fromkeys(key for row in rows for key in row if key not in FIRST_COLUMNS)
    out = io.StringIO()
    writer = csv.DictWriter(out, [*FIRST_COLUMNS, *others], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _rows(report: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One flat row for each predictor and part: point estimates, without the intervals, and what some are."""
    for place, data in enumerate(report["data"]):
        for predictor, name in lookup.each_part(data):
            facts = {key: value for key, value in predictor.items() if key not in NESTED}
            sizes = {key: data["parts"][name][key] for key in ("windows", "documents")}
            gates = {f"gates/{letter}": state for letter, state in lookup.half_states(predictor, name).items()}
            part = predictor["parts"][name]
            values = {f"{group}/{key}": number["value"] for group, key, number in lookup.numbers(part)}
            speed = {f"speed/{key}": value for key, value in _flat(predictor["speed"]).items()}
            explained = {f"explained/{column}": line for column, line in data["columns"].items()}
            yield {"data": place, **facts, "part": name, **sizes, **gates, **values, **speed, **explained}


def _flat(nested: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{before}{key}/") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat
