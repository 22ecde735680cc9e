"""Paired tests, their correction and skill, against cases that can be worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from helpers.judge_data import Leaky, linear, moving_average, preset, windows_of
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.bootstrap import Number, means, p_value, paired_difference
from lvm_lab.judge.comparison import holm, paired, skill
from lvm_lab.judge.five_cat import measure_part
from lvm_lab.judge.results import Half, PartScores


def scores(rows=(1, 2), **numbers):
    """Scores of which all that is known is B's numbers: the value and its resamples."""
    made = {name: Number(value, float(np.std(x)), 3.0, 9, 3, np.array(x)) for name, (value, x) in numbers.items()}
    return PartScores("val", {"B": Half(True, numbers=made)}, ("B",), 9, 3, 0, 1, [], np.array(rows))


def test_skill_is_the_share_of_what_the_best_trivial_one_leaves():
    model = scores(mrr=(0.7, [0.6, 0.8]), chance_mrr=(0.1, [0.1, 0.1]))
    low, high = scores(mrr=(0.4, [0.5, 0.3])), scores(mrr=(0.5, [0.2, 0.6]))
    found = skill(model, {"low": low, "high": high})
    assert set(found) == {"B/mrr"}
    assert found["B/mrr"].number.value == pytest.approx(0.4)
    # In the first resample the other one is the best: (.6 - .5) / .5, then (.8 - .6) / .4.
    assert found["B/mrr"].number.samples_R == pytest.approx([0.2, 0.5])
    told = found["B/mrr"].to_dict()
    assert (told["over"], told["baseline"], told["documents"]) == ("high", 0.5, 3)


def test_skill_below_zero_at_zero_and_at_one(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(30))
    perfect, copied, mean = (measure_part(p, windows, preset()) for p in (Leaky(windows), CopyLast(), MeanOfContext()))
    assert skill(perfect, {"copy_last": copied})["A/cos"].number.value == pytest.approx(1, abs=1e-6)
    nothing = skill(copied, {"copy_last": copied, "mean_of_context": mean})["A/cos"]
    assert (nothing.number.value, nothing.number.low, nothing.number.high) == (0, 0, 0)
    assert skill(mean, {"copy_last": copied})["A/cos"].number.value < 0


def test_skill_over_what_is_perfect_already_is_no_number():
    found = skill(scores(mrr=(1.0, [1.0, 1.0])), {"x": scores(mrr=(1.0, [1.0, 1.0]))})["B/mrr"].to_dict()
    assert (found["value"], found["interval"], found["baseline"]) == (None, None, 1.0)


def test_skill_is_refused_for_other_windows_and_without_baselines():
    with pytest.raises(ValueError, match="different windows"):
        skill(scores(mrr=(1.0, [1.0])), {"x": scores(rows=(1, 3), mrr=(1.0, [1.0]))})
    with pytest.raises(ValueError, match="trivial"):
        skill(scores(mrr=(1.0, [1.0])), {})


def test_identical_predictors_differ_by_nothing_with_p_one(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(30))
    one, two = (measure_part(CopyLast(), windows, preset()) for _ in range(2))
    found = paired(one, two)
    assert {"A/cos", "A/margin", "B/mrr_unseen", "C/shuffled", "D/rollout"} <= set(found)
    for test in found.values():
        if not math.isnan(test.difference.low):
            assert (test.difference.value, test.p) == (0, 1)
    json.dumps({name: test.to_dict() for name, test in found.items()}, allow_nan=False)


def test_a_clear_difference_has_a_small_p_both_ways(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(30))
    better, worse = (measure_part(p, windows, preset()) for p in (CopyLast(), linear(256)))
    test = paired(better, worse)["A/cos"]
    assert test.difference.low > 0
    assert test.p == paired(worse, better)["A/cos"].p < 1e-6


def test_p_is_below_a_twentieth_where_the_interval_leaves_0_out():
    draws = np.random.default_rng(1).standard_normal((200, 12)) + 0.6
    for x in draws:
        number = means({"x": x}, np.arange(12), resamples=100)["x"]
        assert (p_value(number) < 0.05) == (number.low > 0 or number.high < 0)


def test_p_of_two_documents_by_hand():
    """Differences -1 and 3: a resample's mean is -1, 1 or 3 with shares 1/4, 1/2 and 1/4, so its variance is 2; new
    documents would spread sqrt(2) times as far, the error is 2, and t = 1/2 of one degree of freedom has p = .705."""
    number = paired_difference(np.array([0.0, 5.0]), np.array([1.0, 2.0]), np.array([0, 1]), resamples=20_000)
    assert number.value == 1
    assert number.error == pytest.approx(2, abs=0.03)
    assert p_value(number) == pytest.approx(1 - 2 * math.atan(0.5) / math.pi, abs=0.005)


def test_p_is_uniform_where_nothing_differs():
    draws = np.random.default_rng(0).standard_normal((400, 40))
    alarms = [p_value(means({"x": x}, np.arange(40), resamples=400, seed=i)["x"]) < 0.05 for i, x in enumerate(draws)]
    assert 0.03 <= np.mean(alarms) <= 0.07


def test_one_document_has_no_p():
    number = means({"x": np.ones(5)}, np.zeros(5))["x"]
    assert math.isnan(p_value(number))


def test_holm_against_its_textbook_case():
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": math.nan})
    assert [corrected[name] for name in "abcd"] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert math.isnan(corrected["e"])
    assert holm({"a": 0.4, "b": 0.9}) == {"a": 0.8, "b": 0.9}
    assert holm({"a": 0.7, "b": 0.9})["b"] == 1
    assert holm({}) == {}
