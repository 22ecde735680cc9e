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
from lvm_lab.errors import UserError
from lvm_lab.judge import baselines as shipped
from lvm_lab.judge import options
from lvm_lab.judge.baseline import Baseline
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.reporting.tables import NAMES
from lvm_lab.scoring import baselines as fitted_baselines
from lvm_lab.scoring import judging as scoring

ALL = list(shipped.TITLES)
TRIVIAL = ["random", "global_mean", "copy_last", "mean_of_context", "exponential"]
OWN = """
from lvm_lab.judge.baseline import Baseline
from lvm_lab.types import Prediction


class First(Baseline):
    name = "first"
    trivial = True

    def __init__(self, scale):
        self.scale = scale

    @classmethod
    def fit(cls, data, scale: float = 1.0):
        return cls(scale)

    def __call__(self, context_BLD):
        return Prediction.from_raw(self.scale * context_BLD[:, 0])
"""
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

    for place in ("exponential.best_decay", "ridge.fit_ridge", "linear_metric.fit_linear_metric"):
        monkeypatch.setattr(f"lvm_lab.judge.baselines.{place}", fit)


def test_every_file_is_a_baseline_with_a_title_and_an_order(parts: Parts, fitted: Path) -> None:
    assert options.stems(shipped.__name__) == sorted(ALL)
    for stem in ALL:
        assert options.by_stem(shipped.__name__, stem, Baseline).name == stem
    assert list(fitted_baselines.baselines(parts, fitted, "cpu")) == ALL == list(NAMES)
    cheap = fitted_baselines.baselines(parts, fitted, "cpu", "cheap")
    assert set(ALL) - set(cheap) == {"nearest", "linear_metric"}
    assert fitted_baselines.trivial_names("all") == TRIVIAL


def test_a_list_names_baselines_and_a_users_own(
    parts: Parts, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_baselines.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = {"_target_": "my_baselines.First", "scale": 0.5}
    asked = preset(resamples=20, eval_windows=60, baselines=["copy_last", own, "oracle"])
    shipped.check(asked)
    found = fitted_baselines.baselines(parts, fitted, "cpu", asked.baselines)
    assert list(found) == ["copy_last", "first", "oracle"]
    context = torch.from_numpy(parts.val.context())
    assert torch.equal(found["first"](context).raw_ND, 0.5 * context[:, 0])
    beside = scoring.beside(scoring.judge(CopyLast(), parts, asked, "cpu"), parts, asked, fitted, "cpu")
    assert list(beside.baselines) == ["copy_last", "first", "oracle"]
    assert beside.skill["val"]["A/cos"]["over"] in ("copy_last", "first")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["copylast"], "copylast, which does not exist; choose among copy_last, "),
        (["copy_last", "copy_last"], "copy_last twice"),
        ([{"_target_": "nowhere.Mine"}], "five_cat.baselines.0._target_=nowhere.Mine cannot be imported"),
        ([{"_target_": "lvm_lab.judge.baselines.ridge.Ridge", "penalty": 1}], "five_cat.baselines.0.penalty does not"),
        ([{"_target_": "pathlib.Path"}], "is no Baseline; derive it from lvm_lab.judge.baseline.Baseline"),
        ([3], "3 does not fit"),
        ("none", "choose all or cheap"),
    ],
)
def test_mistakes_in_a_list_of_baselines_are_sentences(entries: object, words: str) -> None:
    def choose() -> None:
        asked = preset(baselines=entries)
        shipped.check(asked)
        fitted_baselines.kinds(asked.baselines)

    with pytest.raises(UserError, match=words) as refusal:
        choose()
    assert str(refusal.value).endswith(".")


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
    other: dict[str, object] = {"_target_": "lvm_lab.judge.baselines.ridge.Ridge", "penalties": [1.0]}
    with pytest.raises(AssertionError, match="fitted again"):
        fitted_baselines.baselines(parts, fitted, "cpu", [other])
    monkeypatch.setattr("lvm_lab.judge.baselines.exponential.ExponentialContext.fit_version", 2)
    with pytest.raises(AssertionError, match="fitted again"):
        fitted_baselines.baselines(parts, fitted, "cpu", ["exponential"])


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
    best = max(TRIVIAL, key=lambda name: found.baselines[name]["val"]["A/cos"])
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
