"""The closing table fits a terminal and tells what is missing from it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lvm_lab.reporting.tables import COLUMNS, NAMES, closing_tables
from lvm_lab.runs.result import Result


def result(**changes: Any) -> Result:
    row = {"passed": 1, "val": {key: 0.123 if key[0] in "AB" else -0.123 for _, key in COLUMNS} | {"A/margin": -0.123}}
    rows = {name: row for name in NAMES}
    base = {"name": "run", "loss": "infonce", "data": "planted", "status": "finished", "seed": 0, "fingerprint": "0"}
    return Result(
        **{**base, "arch": "mamba2_attention", "seconds": 1.0, "five_cat": {"model": row}, "baselines": rows, **changes}
    )


def shown(made: Result) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=80)
    for table in closing_tables(made):
        console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("arch", ["gru", "mamba2_attention"])
def test_the_whole_table_fits_80_columns(arch: str) -> None:
    skill = {"val": {key: {"value": -0.12} for _, key in COLUMNS}}
    lines = shown(result(arch=arch, skill=skill, not_fitted={"nearest": "no window."}))
    assert all(len(line) <= 80 for line in lines)
    for name in (arch, *NAMES.values()):
        (row,) = (line for line in lines if line.startswith(f"{name} ") and "0.123" in line)
        assert row.count("0.123") == len(COLUMNS), row
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
    model = {"passed": 5, "val": {"A/cos": 0.999}}
    lines = [line for line in shown(result(arch="ridge", five_cat={"model": model})) if line.startswith("ridge")]
    assert len(lines) == 2
    assert "0.999" in lines[0]
