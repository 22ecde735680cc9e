"""The closing table fits a terminal and tells what is missing from it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from helpers import run_files
from lvm_lab.reporting.tables import closing_tables
from lvm_lab.reporting.words import BASELINES, COMPARED
from lvm_lab.runs.result import Result


def result(passed: int = 1, values: dict[str, float] | None = None, **changes: Any) -> Result:
    """A run that was judged on VAL alone; values: its numbers, by default those of every baseline."""
    row = {key: 0.123 if key[0] in "AB" else -0.123 for _, key in COMPARED} | {"A/margin": -0.123}
    numbers: dict[str, Any] = {}
    for key, value in (values or row).items():
        letter, _, name = key.partition("/")
        numbers.setdefault(letter, {})[name] = run_files.number(value)
    halves = {letter: run_files.half(half) for letter, half in numbers.items()}
    baselines = {name: {"passed": 1, "val": row} for name in BASELINES}
    judged = {
        "arch": "mamba2_attention",
        "five_cat": {"required": 5, "passed": passed, "verdict": "fail"},
        "val": {"five_cat": {"passed": 0, "margin": None, "halves": halves}},
        "ood": {},
        "baselines": baselines,
    }
    return run_files.result(**(judged | changes))


def shown(written: Result) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=80)
    for table in closing_tables(written):
        console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("arch", ["gru", "mamba2_attention"])
def test_the_whole_table_fits_80_columns(arch: str) -> None:
    skill = {"val": {key: {"value": -0.12} for _, key in COMPARED}}
    lines = shown(result(arch=arch, skill=skill, not_fitted={"nearest": "no window."}))
    assert all(len(line) <= 80 for line in lines)
    for name in (arch, *BASELINES.values()):
        (row,) = (line for line in lines if line.startswith(f"{name} ") and "0.123" in line)
        assert row.count("0.123") == len(COMPARED), row
        assert "1/5" in row
    assert not any("…" in line for line in lines)


def test_skill_stands_under_the_model_with_what_it_means() -> None:
    lines = shown(result(skill={"val": {"A/cos": {"value": 0.237}, "B/mrr_unseen": {"value": None}}}))
    place = next(i for i, line in enumerate(lines) if "mamba2_attention" in line)
    assert lines[place + 1].split() == ["skill", "24%"]
    assert "best trivial" in lines[-1]
    assert not any("skill" in line for line in shown(result()))


def test_what_is_not_fitted_says_why() -> None:
    rest = {name: row for name, row in result().baselines.items() if name != "linear_metric"}
    reason = "the linear metric needs training windows; bring longer documents."
    lines = shown(result(baselines=rest, not_fitted={"linear_metric": reason}))
    assert "linear metric" in lines
    assert f"linear metric: not fitted: {reason}" in " ".join(lines)


def test_an_arch_of_a_baselines_name_stands_beside_it() -> None:
    own = result(passed=5, values={"A/cos": 0.999}, arch="ridge")
    lines = [line for line in shown(own) if line.startswith("ridge")]
    assert len(lines) == 2
    assert "0.999" in lines[0]
