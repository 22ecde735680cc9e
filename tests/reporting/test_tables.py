"""The closing table fits a terminal and tells what is missing from it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lvm_lab.reporting import terminal
from lvm_lab.reporting.tables import closing_tables, verdict_line
from lvm_lab.reporting.words import BASELINES, COMPARED
from lvm_lab.runs.result import Result

VALUES = {key: 0.123 if key[0] in "AB" else -0.123 for _, key in COMPARED} | {"A/margin": -0.123}


def judged(values: dict[str, float]) -> dict[str, Any]:
    """A part with these numbers of gates, none of which has a threshold."""
    halves: dict[str, Any] = {}
    for key, value in values.items():
        letter, _, name = key.partition("/")
        halves.setdefault(letter, {"state": True, "numbers": {}})["numbers"][name] = {"value": value, "interval": None}
    return {"five_cat": {"passed": 4, "of": 4, "margin": None, "halves": halves}}


def result(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "name": "run",
        "arch": "mamba2_attention",
        "loss": "infonce",
        "data": "planted",
        "status": "finished",
        "seed": 0,
        "fingerprint": "0",
        "seconds": 1.0,
        "five_cat": {"required": 5, "of": 5, "passed": 1, "verdict": "fail", "gates": {}},
        "val": judged(VALUES),
        "baselines": {name: {"passed": 1, "val": VALUES} for name in BASELINES},
    }
    return Result(**(fields | changes))


def shown(finished: Result) -> list[str]:
    """The lines of the last table."""
    out = io.StringIO()
    Console(file=out, width=80).print(closing_tables(finished)[-1])
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


def test_test_stands_beside_val_and_chose_nothing() -> None:
    checked = {"threshold": 0.12, "passed": True, "undecided": False}
    val, test = ({"A": {"state": True, "numbers": {"margin": {"value": v} | checked}}} for v in (0.31, 0.27))
    both = result(
        val={"five_cat": {"passed": 1, "of": 4, "margin": 0.31, "halves": val}},
        test={"five_cat": {"passed": 1, "of": 4, "margin": 0.27, "halves": test}},
    )
    out = io.StringIO()
    tables = closing_tables(both)
    Console(file=out, width=80).print(tables[1])
    text = out.getvalue()
    assert "5CAT on test, which chose nothing" in text
    assert "0.310" in text
    assert "0.270" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    old = result(test={"windows": 9, "documents": 3})
    assert len(closing_tables(old)) == len(tables) - 1, "a result of before has no gates on test"


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
    lines = [line for line in shown(result(arch="ridge", val=judged({"A/cos": 0.999}))) if line.startswith("ridge")]
    assert len(lines) == 2
    assert "0.999" in lines[0]


def test_what_was_not_judged_says_so() -> None:
    off = result(five_cat={}, val={}, baselines={})
    assert closing_tables(off) == []
    assert "not judged (5cat=off)" in verdict_line(off)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("linear_metric-within_document", ["linear_metric-", "within_document"]),
        ("mamba2_attention-infonce-seed0", ["mamba2_", "attention-", "infonce-seed0"]),
        ("mean-of-context", ["mean-of-context"]),
        ("linear metric", ["linear metric"]),
        ("gru", ["gru"]),
        ("averyveryverylongword-gru", ["averyveryverylongword-", "gru"]),
        ("", [""]),
    ],
)
def test_a_name_is_broken_between_its_words(name: str, broken: list[str]) -> None:
    assert terminal.lines(name, 15).split("\n") == broken
