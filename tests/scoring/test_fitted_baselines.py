"""A run's baselines are fitted once, and named with the reason where they cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.judge_data import preset
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.judge import baselines as shipped
from lvm_lab.judge import options
from lvm_lab.judge.baseline import Baseline
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.reporting.words import BASELINES
from lvm_lab.scoring import baselines as fitted_baselines
from lvm_lab.scoring.ground import Ground
from lvm_lab.scoring.scores import TRAINING, score

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


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: object) -> None:
        raise AssertionError("fitted again")

    for place in ("exponential.best_decay", "ridge.fit_ridge", "linear_metric.fit_linear_metric"):
        monkeypatch.setattr(f"lvm_lab.judge.baselines.{place}", fit)


def test_every_file_is_a_baseline_with_a_title_and_an_order(parts: Parts, fitted: Path) -> None:
    assert options.stems(shipped.__name__) == sorted(ALL)
    for stem in ALL:
        assert options.by_stem(shipped.__name__, stem, Baseline).name == stem
    assert list(fitted_baselines.baselines(parts, fitted, "cpu")) == ALL == list(BASELINES)
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
    scores = score({"model": CopyLast}, Ground.of_run(parts, asked, fitted), TRAINING, "cpu")
    assert list(scores.baselines) == ["copy_last", "first", "oracle"]
    assert scores.skill["model"]["val"]["A/cos"].over in ("copy_last", "first")


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
