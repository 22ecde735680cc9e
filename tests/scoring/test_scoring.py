"""A run's baselines are fitted once, told where they cannot be, and stand beside the model with lifts and skill."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.judge_data import preset
from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.judge.baselines import CopyLast
from lvm_lab.judge.baselines.linear_metric import MetricSettings
from lvm_lab.reporting.tables import NAMES
from lvm_lab.scoring import baselines as fitted_baselines
from lvm_lab.scoring import judging as scoring

ALL = [*fitted_baselines.TRIVIAL, "nearest", "ridge", "linear_metric", "oracle"]
FITTED = {"exponential", "ridge", "linear_metric"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    cache = tmp_path_factory.mktemp("world")
    settings = DataSettings()
    world = PlantedWorld(dim=128, documents=90, ood_documents=30)
    return cut_parts(world.open(cache, settings), settings, cache, every_position=False)


@pytest.fixture(scope="module")
def fitted(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which everything has been fitted."""
    cache = tmp_path_factory.mktemp("cache")
    fitted_baselines.baselines(parts, cache, "cpu")
    return cache


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise AssertionError("fitted again")

    for name in ("fit_exponential", "fit_ridge", "fit_linear_metric"):
        monkeypatch.setattr(scoring, name, fit)


def test_every_baseline_has_a_name_in_tables_and_an_order(parts: Parts, fitted: Path) -> None:
    assert list(fitted_baselines.baselines(parts, fitted, "cpu")) == ALL == list(NAMES)
    cheap = fitted_baselines.baselines(parts, fitted, "cpu", "cheap")
    assert set(ALL) - set(cheap) == set(fitted_baselines.DEAR)


def test_the_second_call_fits_nothing(parts: Parts, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {file.name.rsplit("-", 1)[0] for file in fitted.iterdir()} == FITTED
    first = fitted_baselines.baselines(parts, fitted, "cpu")
    refuse(monkeypatch)
    again = fitted_baselines.baselines(parts, fitted, "cpu")
    context = torch.from_numpy(parts.val.context())
    for name in ALL:
        assert torch.equal(first[name](context).raw_ND, again[name](context).raw_ND), name


def test_other_windows_and_other_settings_are_fitted_anew(
    parts: Parts, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch)
    fewer = replace(parts, train=parts.train.select(np.arange(100)))
    with pytest.raises(AssertionError, match="fitted again"):
        fitted_baselines.baselines(fewer, fitted, "cpu")
    monkeypatch.setattr(scoring, "MetricSettings", lambda: MetricSettings(seed=1))
    with pytest.raises(AssertionError, match="fitted again"):
        fitted_baselines.baselines(parts, fitted, "cpu")


def test_what_cannot_be_fitted_is_told_and_the_rest_stays(parts: Parts, cache: Path) -> None:
    nothing = replace(parts, train=parts.train.select(np.array([], dtype=np.int64)))
    not_fitted: dict[str, str] = {}
    found = fitted_baselines.baselines(nothing, cache, "cpu", "all", not_fitted)
    assert set(not_fitted) == {*FITTED, "nearest"} == set(ALL) - set(found)
    for reason in not_fitted.values():
        assert reason.endswith("needs training windows; bring longer documents.")
    assert not any(cache.iterdir())


def test_a_torn_cache_costs_a_run_one_baseline(parts: Parts, cache: Path, fitted: Path) -> None:
    for file in fitted.iterdir():
        (cache / file.name).write_bytes(file.read_bytes()[: 100 if file.name.startswith("linear") else None])
    not_fitted: dict[str, str] = {}
    fitted_baselines.baselines(parts, cache, "cpu", "all", not_fitted)
    assert set(not_fitted) == {"linear_metric"}
    assert "delete it" in not_fitted["linear_metric"]


def test_beside_holds_lifts_p_values_and_skill(parts: Parts, fitted: Path) -> None:
    asked = preset(resamples=100)
    model = scoring.judge(CopyLast(), parts, asked, "cpu")
    found = scoring.beside(model, parts, asked, fitted, "cpu")
    assert list(found.baselines) == ALL
    assert found.not_fitted == {}
    assert set(found.skill) == {"val", "ood"}
    own = found.baselines["copy_last"]["model_lift_val"]["A/cos"]
    assert (own["value"], own["p"], own["p_holm"]) == (0, 1, 1)
    chance = found.baselines["random"]["model_lift_val"]["A/cos"]
    assert chance["value"] > 0.2
    assert chance["p"] == pytest.approx(2 / 101)
    assert chance["p"] < chance["p_holm"] <= 1
    told = found.skill["val"]["A/cos"]
    best = max(fitted_baselines.TRIVIAL, key=lambda name: found.baselines[name]["val"]["A/cos"])
    assert told["over"] == best
    trivial = found.baselines[best]["val"]["A/cos"]
    assert told["value"] == pytest.approx((model.val.values()["A/cos"] - trivial) / (1 - trivial))
    json.dumps([found.baselines, found.skill], allow_nan=False)


def test_the_linear_metric_beats_what_it_begins_as_on_the_planted_world(parts: Parts, fitted: Path) -> None:
    found = scoring.beside(scoring.judge(CopyLast(), parts, preset(), "cpu"), parts, preset(), fitted, "cpu")
    assert found.baselines["linear_metric"]["model_lift_val"]["A/cos"]["interval"][1] < 0


def test_the_next_run_on_the_same_data_judges_no_baseline_again(
    parts: Parts, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = preset(eval_windows=60, resamples=20, baselines="cheap")
    model = scoring.judge(CopyLast(), parts, chosen, "cpu")
    first = scoring.beside(model, parts, chosen, fitted, "cpu")
    judged: list[object] = []
    monkeypatch.setattr(scoring, "judge", lambda *args: judged.append(args) or model)
    assert scoring.beside(model, parts, chosen, fitted, "cpu") == first
    assert not judged
    # Other windows or another preset are other numbers.
    scoring.beside(model, parts, replace(chosen, seed=1), fitted, "cpu")
    scoring.beside(model, replace(parts, ood=None), chosen, fitted, "cpu")
    assert len(judged) == 2 * len(first.baselines)
