"""Alarms and the data gate's curve speak of differences that are clear of what resampling documents does to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.judge_data import DIM, moving_average, predictor, preset, windows_of
from lvm_lab.data.windows import Windows
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.data_gate import data_gate
from lvm_lab.judge.five_cat import measure_part

SEEDS = range(30)
# No other gate raises an alarm.
SWEEP = preset(gates=["offsets"], required=1)
NOT_MONOTONE = "the position curve is not monotone"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    return windows_of(tmp_path_factory.mktemp("stores") / "s", moving_average(30))


def random(seed: int):
    """A linear map of the whole context that nobody trained: its predictions resemble no vector more than another."""
    weight = torch.randn(5 * DIM, DIM, generator=torch.Generator().manual_seed(seed)) / DIM**0.5
    return predictor(lambda x: x.flatten(1) @ weight)


def test_of_thirty_random_predictors_at_most_two_raise_an_alarm(windows):
    parts = [measure_part(random(seed), windows, SWEEP) for seed in SEEDS]
    assert sum(part.best_k <= 0 for part in parts) > 8, "by the highest mean alone many would"
    assert sum(bool(part.alarms) for part in parts) <= 2


@pytest.mark.parametrize("count", [10, 30])
def test_copies_and_predictors_of_the_past_still_raise_one(windows, count):
    some = windows.select(windows.document_W < count)
    assert [alarm.name for alarm in measure_part(CopyLast(), some, SWEEP).alarms] == ["copying"]
    for place in (1, 2, 3):
        past = predictor(lambda x, place=place: x[:, place])
        assert [alarm.name for alarm in measure_part(past, some, SWEEP).alarms] == ["backward bias"]


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_weak_copy_in_noise_is_a_copy(windows, share):
    """Nearer to what was read by a little, on every document: an alarm, however low the cosine."""
    noise = random(0)
    part = measure_part(predictor(lambda x: share * x[:, -1] + noise(x).unit_ND), windows, SWEEP)
    assert [alarm.name for alarm in part.alarms] == ["copying"]


def documents_of_sixteen(seed: int, cycle: float) -> np.ndarray:
    """60 documents of 40 chunks: a topic, a walk that forgets, and noise; cycle: what returns every eighth chunk."""
    rng = np.random.default_rng(seed)
    topic, walk = rng.standard_normal((60, 1, 64)), 1.25 * rng.standard_normal((60, 40, 64))
    for t in range(1, 40):
        walk[:, t] = 0.6 * walk[:, t - 1] + rng.standard_normal((60, 64))
    wheel = np.tile(rng.standard_normal((60, 8, 64)), (1, 5, 1))
    vectors = topic + walk + 0.5 * rng.standard_normal(walk.shape) + cycle * wheel
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).reshape(-1, 64).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_curve_that_wavers_is_monotone(tmp_path, seed):
    windows = windows_of(tmp_path / "s", documents_of_sixteen(seed, 0.0), 40, context_length=16)
    gate = data_gate(windows)
    assert (np.diff(gate["curve"]) < 0).any(), "a curve without a fall would show nothing"
    assert NOT_MONOTONE not in gate["failed"]


def test_a_clear_fall_is_not_monotone(tmp_path):
    windows = windows_of(tmp_path / "s", documents_of_sixteen(0, 0.7), 40, context_length=16)
    assert NOT_MONOTONE in data_gate(windows)["failed"]
