"""Intervals come from resampling documents, are paired where asked, and cover what they should."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from lvm_lab.judge.bootstrap import combine, difference, means, p_value, paired_difference

RNG = np.random.default_rng(0)


def test_point_estimate_is_the_mean_over_eligible_windows():
    values = np.array([1.0, 2.0, np.nan, 6.0])
    number = means({"x": values}, np.array([7, 7, 9, 9]))["x"]
    assert (number.value, number.windows, number.documents) == (3.0, 3, 2)


def test_resamples_match_a_loop_over_documents():
    documents = RNG.integers(5, size=40)
    values = RNG.standard_normal(40)
    number = means({"x": values}, documents, resamples=3, seed=11)["x"]
    drawn = np.random.default_rng(11).integers(5, size=(3, 5))
    for sample, chosen in zip(number.samples_R, drawn, strict=True):
        pool = np.concatenate([values[documents == d] for d in chosen])
        assert sample == pytest.approx(pool.mean(), abs=1e-12)


def test_windows_of_one_document_are_not_independent():
    """Copies of each document's window add no evidence; resampling windows would shrink the interval 5 times."""
    values = RNG.standard_normal(50)
    once = means({"x": values}, np.arange(50), seed=1)["x"]
    copied = means({"x": np.repeat(values, 25)}, np.repeat(np.arange(50), 25), seed=1)["x"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_interval_covers_the_true_mean_about_95_percent():
    hits = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        documents = np.repeat(np.arange(40), 5)
        values = rng.standard_normal(40)[documents] + rng.standard_normal(200)
        number = means({"x": values}, documents, resamples=300, seed=trial)["x"]
        hits += number.low <= 0 <= number.high
    assert 175 <= hits <= 199


def test_margin_resamples_the_maximum():
    columns = {name: RNG.standard_normal(60) for name in "abc"}
    scored = means(columns, np.repeat(np.arange(20), 3), seed=2)
    margin = combine(lambda a, *rest: a - np.maximum.reduce(rest), *scored.values())
    a, b, c = (number.samples_R for number in scored.values())
    assert margin.value == scored["a"].value - max(scored["b"].value, scored["c"].value)
    # Twenty documents of three windows: t of 19 degrees of freedom is 2.093.
    error = np.std(a - np.maximum(b, c)) * np.sqrt(20 / 19)
    assert margin.error == pytest.approx(error)
    half = 2.093 * error
    assert (margin.low, margin.high) == pytest.approx((margin.value - half, margin.value + half), abs=1e-4)


def test_an_interval_by_hand():
    """Three documents of 2, 1 and 1 windows say as much as 16 / 6 equal ones; t of 5/3 degrees of freedom is 5.3."""
    number = means({"x": np.array([1.0, 2.0, 4.0, 7.0])}, np.array([0, 0, 1, 2]), resamples=20_000)["x"]
    assert number.effective == pytest.approx(16 / 6)
    assert number.error == pytest.approx(number.samples_R.std() * np.sqrt((16 / 6) / (16 / 6 - 1)))
    assert number.interval(0.9) == pytest.approx(
        (number.value - half, number.value + half) if (half := stats.t.ppf(0.95, 5 / 3) * number.error) else ()
    )
    assert (number.low, number.high) == number.interval(0.95)


def test_equal_documents_give_the_textbook_t_interval():
    values = np.random.default_rng(3).standard_normal(12)
    number = means({"x": values}, np.arange(12), resamples=200_000)["x"]
    assert number.interval() == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(), abs=0.01)
    assert p_value(number) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.005)


def test_paired_difference_cancels_what_both_share():
    hard = RNG.standard_normal(300) * 10
    documents = np.repeat(np.arange(30), 10)
    paired = paired_difference(hard + 1, hard, documents)
    assert paired.value == pytest.approx(1)
    assert paired.high - paired.low < 1e-9
    alone = means({"x": hard + 1}, documents, seed=1)["x"], means({"x": hard}, documents, seed=2)["x"]
    assert (apart := difference(*alone)).high - apart.low > 0.5


def test_seeded():
    columns, documents = {"x": RNG.standard_normal(30)}, np.arange(30)
    same, again, other = (means(columns, documents, seed=s)["x"] for s in (3, 3, 4))
    assert (same.low, same.high) == (again.low, again.high) != (other.low, other.high)


def test_one_document_has_no_interval_and_no_window_no_value():
    number = means({"x": np.ones(5)}, np.zeros(5))["x"]
    assert number.value == 1
    assert number.to_dict()["interval"] is None
    empty = means({"x": np.full(5, np.nan)}, np.arange(5))["x"]
    nothing = dict.fromkeys(("value", "interval", "error", "effective"))
    assert empty.to_dict() == nothing | {"windows": 0, "documents": 0}
    assert means({"x": np.empty(0)}, np.empty(0))["x"].windows == 0


def test_blocks_change_nothing(monkeypatch):
    columns, documents = {"x": RNG.standard_normal(90)}, np.arange(90) // 3
    whole = means(columns, documents)["x"]
    monkeypatch.setattr("lvm_lab.judge.bootstrap.BLOCK", 100)
    assert np.allclose(means(columns, documents)["x"].samples_R, whole.samples_R, rtol=0, atol=1e-12)


def test_twenty_thousand_windows_take_less_than_five_seconds():
    columns = {str(i): RNG.random(20_000) for i in range(40)}
    started = time.perf_counter()
    means(columns, np.arange(20_000) % 10_000)
    assert time.perf_counter() - started < 5
