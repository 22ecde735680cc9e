"""Training and evaluate score by one path: its numbers are those of schema 1, and equal in both to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import lvm_lab
from helpers.judge_data import preset
from lvm_lab.build.data import parts
from lvm_lab.config.evaluation import EvaluationSettings
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import DeviceSettings, settings
from lvm_lab.data.parts import Parts
from lvm_lab.jobs.evaluation import evaluate
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.runs.result import Result
from lvm_lab.scoring import scores as scoring
from lvm_lab.scoring.ground import KINDS, Ground
from lvm_lab.scoring.scores import TRAINING, Scores, score

(RUN,) = (Path(__file__).parents[1] / "fixtures" / "schema1" / "outputs").iterdir()
TRIVIAL = ("random", "global_mean", "copy_last", "mean_of_context", "exponential")


def scored(parts: Parts, asked: Preset, cache: Path) -> Scores:
    return score({"model": CopyLast}, Ground.of_run(parts, asked, cache), TRAINING, "cpu")


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    """What the code of schema 1 wrote of its run, in today's shape."""
    return Result.from_json(json.loads((RUN / "result.json").read_text())).to_json()


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory, old: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same checkpoint scored today as training does, and evaluated."""
    cache = tmp_path_factory.mktemp("cache")
    config = yaml.safe_load((RUN / "config.yaml").read_text())
    del config["identity"]
    config["run"]["cache"] = str(cache)
    typed = settings(config)
    model = lvm_lab.load(RUN / "checkpoints" / old["checkpoint"])
    ground = Ground.of_run(parts(typed), typed.preset, typed.cache)
    result = score({"gru": lambda: model.predict}, ground, TRAINING, "cpu").to_result()
    evaluation = evaluate(
        EvaluationSettings(
            checkpoints=[str(RUN)],
            parts=list(KINDS),
            ood=[],
            out=str(cache / "out"),
            cache=str(cache),
            allow=[],
            device=DeviceSettings("cpu"),
            preset=typed.preset,
            data=None,
        )
    )
    return as_json(result), as_json(evaluation)


def as_json(report: Any) -> Any:
    return json.loads(json.dumps(report, allow_nan=False))


def differences(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two JSON values differ by more than other processors round."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        if set(mine) != set(theirs):
            return [f"{path}: {sorted(set(mine) ^ set(theirs))}"]
        return [line for key in mine for line in differences(mine[key], theirs[key], f"{path}/{key}")]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [line for place, pair in pairs for line in differences(*pair, f"{path}/{place}")]
    # A sentence has numbers of its own.
    sentence = path.endswith(("/reason", "/measured"))
    same = mine == theirs or sentence or mine == pytest.approx(theirs, rel=1e-3, abs=1e-3)
    return [] if same else [f"{path}: {mine} and {theirs}"]


def without_intervals(node: Any) -> Any:
    """Point estimates, states and counts: what intervals say, and which alarms and verdicts they lead to, is another
    rule's in schema 1."""
    if isinstance(node, dict):
        dropped = {"interval", "undecided", "p", "p_holm", "error", "effective", "alarms", "verdict", "reason"}
        return {key: without_intervals(value) for key, value in node.items() if key not in dropped}
    return node


def test_a_run_scores_as_the_code_of_schema_1_scored_it(
    again: tuple[dict[str, Any], dict[str, Any]], old: dict[str, Any]
) -> None:
    result, _ = again
    # Schema 1 judged no gate on test and did not say of how many gates.
    test = result["test"] | {"five_cat": None}
    # It knew nothing of `following`, for which this world's documents are too short.
    result = result | {part: {k: v for k, v in result[part].items() if k != "following"} for part in ("val", "ood")}
    del test["following"]
    expected = {key: old[key] for key in result} | {"test": old["test"] | {"five_cat": None}}
    expected["baselines"] = {name: {"of": 5} | baseline for name, baseline in old["baselines"].items()}
    assert differences(without_intervals(result | {"test": test}), without_intervals(expected)) == []


def test_a_finished_runs_test_part_is_judged_by_the_gates_and_changes_no_verdict(
    again: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    result, evaluation = again
    halves = result["test"]["five_cat"]["halves"]
    assert {letter for letter, half in halves.items() if half["state"] is not None} == set("ABCD")
    (data,) = evaluation["data"]
    assert data["predictors"][0]["parts"]["test"]["five_cat"] == result["test"]["five_cat"]
    assert result["five_cat"] == data["predictors"][0]["five_cat"]["val"]["ood"], "the verdict is VAL's with OOD"


def test_evaluate_gives_a_run_the_numbers_of_its_result(again: tuple[dict[str, Any], dict[str, Any]]) -> None:
    result, evaluation = again
    (data,) = evaluation["data"]
    model, *baselines = data["predictors"]
    # To the bit: the same windows, seeds and order of sums.
    for part in KINDS:
        beyond = {"unseen", "contrastive", "store"}
        assert {key: number for key, number in model["parts"][part].items() if key not in beyond} == result[part]
        # The baselines are judged on test by evaluate alone.
        assert part == "test" or model["skill"][part] == result["skill"][part]
    assert model["five_cat"]["val"]["ood"] == result["five_cat"]
    assert [baseline["name"] for baseline in baselines] == list(result["baselines"])
    for baseline in baselines:
        values = result["baselines"][baseline["name"]]["val"]
        for key, value in values.items():
            gate, _, name = key.partition("/")
            assert baseline["parts"]["val"]["five_cat"]["halves"][gate]["numbers"][name]["value"] == value


@pytest.mark.parametrize("count", [0, 40])
def test_a_grounds_samples_are_the_gates_own(parts: Parts, cache: Path, count: int) -> None:
    ground = Ground.of_run(
        parts, preset(eval_windows=count, max_windows=30, resamples=20, baselines=["copy_last"]), cache
    )
    scores = score({"model": CopyLast}, ground, TRAINING, "cpu")
    for part, report in scores.models["model"].reports.items():
        assert report.metrics["windows"] == len(ground.samples[part]) == (count or 30)
        if report.scores is not None:
            assert report.scores.target_row_W.tolist() == ground.samples[part].target_row_W.tolist()
    # Off judges no gate, and so has nothing to compare by.
    assert bool(scores.baselines) == bool(scores.to_result()["five_cat"]) == bool(count)


def test_the_old_tool_judges_the_first_windows_of_every_part(parts: Parts, cache: Path) -> None:
    asked = preset("lnsp_compat", eval_windows=40, resamples=20, baselines=["copy_last"])
    for purpose in (TRAINING, scoring.EVALUATION):
        scores = score({"model": CopyLast}, Ground.of_run(parts, asked, cache), purpose, "cpu")
        ood = scores.models["model"].scores("ood")
        assert ood is not None
        assert parts.ood is not None
        assert ood.target_row_W[:40].tolist() == parts.ood.target_row_W[:40].tolist()


def test_a_result_holds_lifts_p_values_and_skill(parts: Parts, fitted: Path) -> None:
    scores = scored(parts, preset(resamples=100), fitted)
    result = as_json(scores.to_result())
    assert result["not_fitted"] == {}
    assert set(result["skill"]) == {"val", "ood"}
    own = result["baselines"]["copy_last"]["model_lift_val"]["A/cos"]
    assert (own["value"], own["p"], own["p_holm"]) == (0, 1, 1)
    chance = result["baselines"]["random"]["model_lift_val"]["A/cos"]
    assert chance["value"] > 0.2
    assert 0 < chance["p"] < chance["p_holm"] < 1e-4
    share = result["skill"]["val"]["A/cos"]
    best = max(TRIVIAL, key=lambda name: result["baselines"][name]["val"]["A/cos"])
    assert share["over"] == best
    trivial = result["baselines"][best]["val"]["A/cos"]
    cos = result["val"]["five_cat"]["halves"]["A"]["numbers"]["cos"]["value"]
    assert share["value"] == pytest.approx((cos - trivial) / (1 - trivial))
    # Copy-last does not beat the linear metric, which begins as it.
    assert result["baselines"]["linear_metric"]["model_lift_val"]["A/cos"]["interval"][1] < 0


def test_the_next_run_on_the_same_data_judges_no_baseline_again(
    parts: Parts, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = preset(eval_windows=60, resamples=20, baselines="cheap")
    first = scored(parts, quick, fitted)
    judged: list[object] = []
    judge = scoring.judge
    monkeypatch.setattr(scoring, "judge", lambda *args: judged.append(args) or judge(*args))
    assert scored(parts, quick, fitted).to_result() == first.to_result()
    assert len(judged) == 1
    # Other windows or another preset are other numbers.
    scored(parts, replace(quick, seed=1), fitted)
    scored(replace(parts, ood=None), quick, fitted)
    assert len(judged) == 1 + 2 * (1 + len(first.baselines))
