"""Names with square brackets, which are colours and ends of them to the terminal's library, are shown as they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from lvm_lab.reporting import codes, diagnostics, evaluation

EVALUATED = {
    "data": [
        {
            "predictors": [
                {
                    "name": "m[red]",
                    "kind": "model",
                    "reads": 5,
                    "checkpoint": "runs/m[/red]/best.ckpt",
                    "parts": {"a[/b]": {"five_cat": None}},
                    "speed": {"batch_1": {"p50_ms": 1.0}},
                    "five_cat": {},
                }
            ],
            "not_fitted": {},
            "columns": {},
        }
    ],
    "skipped": [],
}
CODED = {"domains": {"law[/x]": 2}, "chunks": 2, "by": "", "missing": 0}
SHOWN: dict[str, tuple[Callable[[Console], None], list[str]]] = {
    "evaluate": (
        lambda console: evaluation.show(EVALUATED, Path("out[bold]"), console),
        ["m[red]", "a[/b]", "runs/m[/red]/best.ckpt", "out[bold]/evaluation.json"],
    ),
    "codes": (lambda console: codes.show(CODED, console), ["law[/x]"]),
    "diagnose": (lambda console: diagnostics.show_models({}, {"a[/b]": "c[/d]"}, "val", console), ["a[/b]: c[/d]"]),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_name_in_brackets_is_shown_as_it_is(name: str) -> None:
    show, names = SHOWN[name]
    out = io.StringIO()
    show(Console(file=out, width=100))
    for written in names:
        assert written in out.getvalue()
