"""result.json: what is written is what is read, schema 1 is upgraded, what is none is refused, and every field is
documented."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import run_files
from lvm_lab.runs import judgement
from lvm_lab.runs.judgement import Finding, Number
from lvm_lab.runs.result import WAY_OUT, NoResult, Result, upgraded

ROOT = Path(__file__).parents[2]
OLD = sorted((ROOT / "tests" / "fixtures" / "schema1").rglob("result.json"))


def old(file: Path) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(file.read_text())
    return node


@pytest.mark.parametrize("file", OLD, ids=lambda file: file.parent.name)
def test_schema_1_keeps_every_number(file: Path) -> None:
    before, result = old(file), Result.from_json(old(file), file)
    own = before["five_cat"]["model"]
    for part in ("val", "ood"):
        assert result.values(part) == own[part]
        scores = result.scores(part)
        assert scores is not None
        wanted = before["five_cat"][part]
        assert (scores.passed, scores.margin, scores.best_k) == (wanted["passed"], wanted["margin"], wanted["best_k"])
        assert scores.of == 4
        for letter, gate in before["five_cat"]["gates"].items():
            half = result.half(part, letter)
            assert half is not None
            assert (half.state, half.reason) == (gate[part]["state"], gate[part]["reason"])
            for name, number in gate[part]["numbers"].items():
                told = dataclasses.asdict(half.numbers[name])
                assert {key: told[key] for key in number} == number
    assert {letter: gate.state for letter, gate in result.gates.items()} == own["gates"]
    assert result.verdict is not None
    assert (result.verdict.passed, result.verdict.of) == (own["passed"], 5)
    assert (result.seconds, result.params, result.fingerprint) == tuple(
        before[key] for key in ("seconds", "params", "fingerprint")
    )
    for name, summary in result.baseline_summaries.items():
        assert summary.val == before["baselines"][name]["val"]
    # The halves stand once, and the second copy of the model is gone.
    text = result.to_json()
    assert text["schema"] == 2
    assert set(text["five_cat"]) == {"preset", "required", "of", "passed", "verdict", "reason", "alarms", "gates"}
    assert all("val" not in gate for gate in text["five_cat"]["gates"].values())
    assert len(json.dumps(text)) < len(json.dumps(before))


def test_what_is_written_is_what_is_read() -> None:
    result = run_files.result()
    text = json.loads(json.dumps(result.to_json()))
    assert Result.from_json(text) == result
    assert upgraded(text) == text
    assert next(iter(text)) == "schema"


def test_accessors_are_typed_and_answer_for_what_is_not_there() -> None:
    result = run_files.result()
    assert result.value("val", "A/margin") == 0.11
    assert result.numbers("val", "A")["margin"] == Number(0.11, [0.09, 0.13], 400, 40, 0.12, False, True)
    assert result.part("val").spreads["std_ratio"]["median"] == 1.05  # type: ignore[union-attr]
    assert result.part("test").five_cat is None  # type: ignore[union-attr]
    assert [name for name, _ in result.summaries] == ["gru", "copy_last"]
    result.val["alarms"] = [{"name": "collapsed", "measured": "rank 1", "check": "the rate"}]
    assert result.findings("val") == [Finding("collapsed", "rank 1", "the rate")]
    nothing = run_files.without_model("diverged")
    assert (nothing.verdict, nothing.gates, nothing.alarms, nothing.summaries) == (None, {}, [], [])
    assert (nothing.part("val"), nothing.half("val", "A"), nothing.value("val", "A/cos")) == (None, None, None)
    assert (nothing.values("ood"), nothing.shares("val"), nothing.numbers("val", "A")) == ({}, {}, {})


def test_gates_and_halves_are_counted_by_the_result() -> None:
    result = run_files.result()
    result.five_cat |= {"of": 6, "gates": result.five_cat["gates"] | {"F": {"name": "mine", "state": True}}}
    result.val["five_cat"]["of"] = 5
    read = Result.from_json(result.to_json())
    assert read.verdict is not None
    assert (read.verdict.of, list(read.gates)) == (6, list("ABCDEF"))
    assert read.scores("val").of == 5  # type: ignore[union-attr]


WRONG = {
    "name is missing": lambda node: node.pop("name"),
    "seed is 'x', not a whole number": lambda node: node.update(seed="x"),
    "status is 'done', not one of finished, diverged, failed": lambda node: node.update(status="done"),
    "five_cat.required is missing": lambda node: node["five_cat"].pop("required"),
    "five_cat.gates.A.state is 1.5, not true or false": lambda node: node["five_cat"]["gates"]["A"].update(state=1.5),
    "val.five_cat.halves is [], not a mapping": lambda node: node["val"]["five_cat"].update(halves=[]),
    "ood.cos.value is 'a', not a number": lambda node: node["ood"].update(cos={"value": "a"}),
    "skill.val.A/cos is 3, not a mapping": lambda node: node.update(skill={"val": {"A/cos": 3}}),
    "its schema is 3, and this version reads 2": lambda node: node.update(schema=3),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_no_result_is_refused_with_file_and_key(words: str) -> None:
    node = json.loads(json.dumps(run_files.result().to_json()))
    WRONG[words](node)
    with pytest.raises(NoResult) as refused:
        Result.from_json(node, Path("outputs/run/result.json"))
    sentence = f"outputs/run/result.json is no result of lvm_lab ({words})"
    assert str(refused.value) == f"{sentence}; {WAY_OUT}."


def test_every_field_stands_in_the_documentation() -> None:
    page = (ROOT / "docs" / "run-folder.md").read_text()
    named = set(re.findall(r"`([\w.]+)`", page))
    kinds = [Result, *(getattr(judgement, kind) for kind in ("Verdict", "Gate", "Scores", "Half", "Number", "Part"))]
    # Of a part these are what is left when its own keys are taken.
    derived = {"numbers", "spreads"}
    for kind in kinds:
        fields = {f.name for f in dataclasses.fields(kind)} - (derived if kind is judgement.Part else set())
        assert fields <= named, f"{kind.__name__}: {fields - named}"
