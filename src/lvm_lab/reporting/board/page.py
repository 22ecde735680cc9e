"""The page: one file with its data, style and script inside, which opens from disk without a network; no torch."""

from __future__ import annotations

import html
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from lvm_lab.reporting.board.columns import Board, Column
from lvm_lab.reporting.board.details import details, rounded
from lvm_lab.reporting.board.seeds import Group, groups
from lvm_lab.reporting.board.tables import summary
from lvm_lab.reporting.self_contained import filled, joined, policy

PACKAGE = "lvm_lab.reporting.board"
STYLES = ("base.css", "page.css")
SCRIPTS = (
    "dom.js",
    "table.js",
    "scroll.js",
    "axes.js",
    "naming.js",
    "charts.js",
    "heat.js",
    "details.js",
    "figures.js",
    "page.js",
)


def page(board: Board, folder: Path, out: Path) -> str:
    """The HTML of a board; links lead from `out` to the runs' files."""
    style, script = joined(PACKAGE, STYLES), joined(PACKAGE, SCRIPTS)
    name = folder.resolve().name
    slots = {
        "title": html.escape(name),
        "policy": policy(style, script),
        "style": style,
        "script": script,
        "data": embedded(_data(board, name, out)),
    }
    return filled(joined(PACKAGE, ["page.html"]), slots)


def embedded(node: Any) -> str:
    """JSON that no text inside can end: HTML sees no `<` in it."""
    return json.dumps(rounded(node), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _data(board: Board, name: str, out: Path) -> dict[str, Any]:
    number_of = {line.entry.name: i for i, line in enumerate(board.lines)}
    runs = [
        {
            "name": line.entry.name,
            "pool": line.pool,
            "cells": {"place": line.place, "run": line.entry.name, **line.cells},
            **_noted(details(line.entry, out), line.apart),
        }
        for line in board.lines
    ]
    return {
        "name": name,
        "read": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "summary": summary(board, lambda text: text),
        "halves": board.halves,
        "best": None if board.best is None else number_of[board.best],
        "columns": [
            _column(Column("place", "#", "place by VAL alone", _nothing, "whole")),
            _column(Column("run", "run", "opens the run's details", _nothing)),
            *(_column(c) for c in board.columns),
        ],
        "runs": runs,
        "groups": [_group(group, number_of) for group in groups(board)],
    }


def _noted(shown: dict[str, Any], apart: str | None) -> dict[str, Any]:
    """A run's details, and among its notes why it has no place."""
    return shown | {"notes": [f"no place: {apart}", *shown["notes"]]} if apart else shown


def _column(column: Column) -> dict[str, Any]:
    return {name: getattr(column, name) for name in ("key", "title", "says", "kind", "digits", "short")}


def _nothing(_: Any) -> None:
    """Place and name are a line's own and no cells."""


def _group(group: Group, number_of: dict[str, int]) -> dict[str, Any]:
    spreads = {key: [s.mean, s.deviation, s.count] for key, s in group.numbers.items()}
    members, folds = ([number_of[line.entry.name] for line in lines] for lines in (group.seeds, group.folds))
    return {"name": group.name, "members": members, "folds": folds, "numbers": spreads}
