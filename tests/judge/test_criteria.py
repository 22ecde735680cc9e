"""Criteria of a promotion: each asks for what it says, and what could not be measured is not reached."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvm_lab.config.promotion import FieldCriteria, RankingCriteria
from lvm_lab.judge.criteria import checks

CONF = Path(__file__).parents[2] / "conf" / "criteria"
FIELD = FieldCriteria(**yaml.safe_load((CONF / "field.yaml").read_text()))
RANKING = RankingCriteria(**yaml.safe_load((CONF / "ranking.yaml").read_text()))
GATE: dict[str, Any] = {"passed": True}


def part(cos: float, margin: float, rollout: float) -> dict[str, Any]:
    numbers = {"A": {"cos": cos, "margin": margin}, "D": {"rollout": rollout}}
    halves = {
        letter: {"numbers": {name: {"value": value} for name, value in by_name.items()}}
        for letter, by_name in numbers.items()
    }
    return {
        "five_cat": {"halves": halves},
        "std_ratio": {"median": 1.0},
        "diversity": {"prediction": 0.95, "target": 1.0},
    }


def less(name: str, number: str, part: str, high: float) -> dict[str, Any]:
    return {"part": part, "name": name, "number": number, "value": high - 0.05, "interval": [high - 0.1, high]}


def good() -> dict[str, Any]:
    """One data set of evaluation.json with a model that reaches everything, just so."""
    verdict = {"passed": 3, "alarms": []}
    model = {
        "speed": {"batch_1": {"p50_ms": 49.0}},
        "five_cat": {"val": {"ood": verdict}, "test": {"ood": copy.deepcopy(verdict)}},
        "parts": {"val": part(0.41, 0.1, 0.5), "test": part(0, 0, 0), "ood": part(0.16, 0.08, 0)},
    }
    compared = [
        less(name, number, part, -0.001)
        for part in ("val", "test", "ood")
        for name in ("copy_last", "linear_metric")
        for number in ("mrr_unseen", "following/mrr")
    ]
    return {"predictors": [model], "comparisons": compared, "notes": ["120 documents are few"]}


def failed(criteria: Any, table: dict[str, Any], gate: dict[str, Any] = GATE) -> list[str]:
    return [check.name for check in checks(criteria, table, gate) if not check.passed]


def test_what_reaches_everything_fails_nothing() -> None:
    assert failed(FIELD, good()) == []
    assert failed(RANKING, good()) == []
    assert len(checks(FIELD, good(), GATE)) == 12


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        (("parts", "val", "five_cat", "halves", "A", "numbers", "cos", "value"), 0.40, "VAL cosine"),
        (("parts", "ood", "five_cat", "halves", "A", "numbers", "cos", "value"), 0.15, "OOD cosine"),
        (("speed", "batch_1", "p50_ms"), 50.0, "latency, ms"),
        (("speed",), None, "latency, ms"),
        (("five_cat", "val", "ood", "passed"), 2, "gates"),
        (("parts", "val", "five_cat", "halves", "A", "numbers", "margin", "value"), 0.099, "VAL margin"),
        (("parts", "ood", "five_cat", "halves", "A", "numbers", "margin", "value"), 0.079, "OOD margin"),
        (("parts", "val", "five_cat", "halves", "D", "numbers", "rollout", "value"), 0.499, "VAL rollout"),
        (("parts", "val", "five_cat", "halves", "D", "numbers", "rollout", "value"), None, "VAL rollout"),
        (("parts", "val", "std_ratio", "median"), 1.251, "std ratio"),
        (("parts", "val", "std_ratio", "median"), 0.799, "std ratio"),
        (("parts", "val", "diversity", "prediction"), 0.89, "diversity, of the targets' own"),
        (("five_cat", "test", "ood", "alarms"), [{"name": "backward bias", "part": "test"}], "backward bias"),
    ],
)
def test_each_number_of_the_field_is_asked_for(path: tuple[str, ...], value: Any, name: str) -> None:
    table = good()
    node = table["predictors"][0]
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert failed(FIELD, table) == [name]


@pytest.mark.parametrize("gate", [{"passed": False}, {}])
def test_the_data_gate_is_asked_for(gate: dict[str, Any]) -> None:
    assert failed(FIELD, good(), gate) == ["data gate"]


def test_without_ood_its_numbers_are_not_reached() -> None:
    table = good()
    del table["predictors"][0]["parts"]["ood"]
    assert failed(FIELD, table) == ["OOD cosine", "OOD margin"]


def test_a_ranking_has_to_be_clear_on_test_and_on_every_ood_store() -> None:
    for one in (one for one in good()["comparisons"] if one["part"] != "val"):
        table = good()
        for other in table["comparisons"]:
            if (other["part"], other["name"], other["number"]) == (one["part"], one["name"], one["number"]):
                other["interval"] = [-0.2, 0.0]
        (name,) = failed(RANKING, table)
        assert name.startswith(one["part"].upper())
        assert name.endswith(f"above {one['name']}")
    table = good()
    table["predictors"][0]["parts"]["letters"] = {}
    assert len(failed(RANKING, table)) == 4
    table = good()
    table["comparisons"] = [one for one in table["comparisons"] if one["number"] != "following/mrr"]
    assert len(failed(RANKING, table)) == 4, "what was not measured is not reached"


@pytest.mark.parametrize("criteria", [FIELD, RANKING])
def test_a_model_that_says_nothing_of_its_training_reaches_neither(criteria: FieldCriteria | RankingCriteria) -> None:
    table = good()
    table["notes"].append("a.ckpt records no training rows (an older version wrote it), so that only names say")
    assert failed(criteria, table) == ["nothing seen is judged"]


def test_lines_say_what_was_measured_and_what_is_wanted() -> None:
    lines = [str(check) for check in checks(RANKING, good(), GATE)]
    assert lines[0] == "TEST unseen MRR above copy_last: +0.051 [+0.001, +0.101] (an interval above 0 is wanted)"
    assert str(checks(FIELD, good(), GATE)[0]) == "VAL cosine: 0.410 (above 0.4 is wanted)"
