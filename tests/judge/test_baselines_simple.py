"""Random is chance, exponential weights are weights, and the nearest neighbour is found where it stands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.judge_data import DIM, moving_average, preset, windows_of
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.exponential import ExponentialContext, best_decay
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.baselines.nearest import NearestNeighbour
from lvm_lab.judge.baselines.random import Random
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.five_cat import measure_part
from lvm_lab.judge.predictions import predict
from lvm_lab.types import Stats

CONTEXT = torch.randn(400, 5, 13, generator=torch.Generator().manual_seed(0))
STATS = Stats(torch.linspace(-1, 1, 13), torch.linspace(0.1, 2, 13))


def averages(path, documents=40, noise=1.0, seed=0):
    """A walk seen through noise: the last vector counts most, and those before it too."""
    rng = np.random.default_rng(seed)
    walk = rng.standard_normal((documents, 14, 24)).cumsum(axis=1)
    vectors = walk + noise * rng.standard_normal(walk.shape)
    return windows_of(path, vectors.reshape(-1, 24).astype(np.float32), 14)


def test_random_is_a_function_of_the_context_and_the_seed():
    whole, again, other = Random(STATS)(CONTEXT), Random(STATS)(CONTEXT), Random(STATS, seed=1)(CONTEXT)
    assert torch.equal(whole.raw_ND, again.raw_ND)
    assert not torch.equal(whole.raw_ND, other.raw_ND)
    alone = torch.cat([Random(STATS)(one[None]).raw_ND for one in CONTEXT])
    assert torch.equal(whole.raw_ND, alone)
    assert len(torch.unique(whole.raw_ND, dim=0)) == len(CONTEXT)
    for changed in (CONTEXT.flip(1), CONTEXT.nextafter(torch.tensor(9.0)), -CONTEXT):
        same = (Random(STATS)(changed).raw_ND == whole.raw_ND).all(dim=1)
        assert same.sum() == 0
    assert torch.allclose(whole.unit_ND.norm(dim=1), torch.ones(400))


def test_random_has_the_encoders_spread():
    many = torch.randn(20_000, 5, 13, generator=torch.Generator().manual_seed(1))
    raw = Random(STATS)(many).raw_ND
    assert torch.allclose(raw.mean(0), STATS.mean_D, atol=0.15)
    assert torch.allclose(raw.std(0), STATS.std_D, rtol=0.08)


def test_random_retrieves_at_chance_level(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(80))
    numbers = measure_part(Random(Stats(torch.zeros(DIM), torch.ones(DIM))), windows, preset()).numbers()
    for name in ("r1", "r5", "mrr", "mrr_unseen"):
        found, chance = numbers[f"B/{name}"], numbers[f"B/chance_{name}"].value
        assert found.low <= chance <= found.high, name
    copied = measure_part(CopyLast(), windows, preset()).numbers()["B/mrr_unseen"]
    assert copied.low > numbers["B/mrr_unseen"].high


@given(decay=st.floats(0, 1), length=st.integers(1, 12))
def test_exponential_weights_sum_to_one_and_grow(decay, length):
    weights = ExponentialContext(decay).weights(length)
    assert float(weights.sum()) == pytest.approx(1)
    assert len(weights) == length
    assert (weights >= 0).all()
    assert (weights.diff() >= 0).all()


def test_exponential_lies_between_copy_last_and_the_mean():
    for decay, end in ((0.0, CopyLast()), (1.0, MeanOfContext())):
        assert torch.allclose(ExponentialContext(decay)(CONTEXT).raw_ND, end(CONTEXT).raw_ND, atol=1e-6)
    half = ExponentialContext(0.5)(CONTEXT[:, -2:]).raw_ND
    assert torch.allclose(half, CONTEXT[:, -2] / 3 + CONTEXT[:, -1] * 2 / 3, atol=1e-6)


def test_the_decay_is_the_one_with_the_best_mean_cosine(tmp_path, monkeypatch):
    train = averages(tmp_path / "s")
    decays = (0.0, 0.3, 0.5, 0.7, 1.0)
    target = train.vectors(train.target_row_W)
    scores = [cosines(predict(ExponentialContext(d), train.context())[1], target).mean() for d in decays]
    best = decays[int(np.argmax(scores))]
    assert 0 < best < 1
    monkeypatch.setattr("lvm_lab.judge.baselines.exponential.SLICE", 37)
    assert best_decay(train, decays=decays) == best


def test_the_decay_comes_back_from_disk(tmp_path):
    ExponentialContext(0.34).save(tmp_path / "cache" / "exponential.npz")
    assert ExponentialContext.load(tmp_path / "cache" / "exponential.npz") == ExponentialContext(0.34)
    with pytest.raises(UserError, match="delete it"):
        ExponentialContext.load(tmp_path / "missing.npz")


def test_the_nearest_neighbour_of_a_training_context_is_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("lvm_lab.judge.baselines.nearest.SLICE", 50)
    train = averages(tmp_path / "s")
    found = NearestNeighbour(train)(3 * torch.from_numpy(train.context())).raw_ND.numpy()
    assert np.array_equal(found, train.vectors(train.target_row_W))


def test_the_nearest_neighbour_is_the_one_by_cosine(tmp_path):
    train, other = averages(tmp_path / "t"), averages(tmp_path / "o", seed=1)
    found = NearestNeighbour(train)(torch.from_numpy(other.context())).raw_ND.numpy()
    cos = cosines(other.context()[:, None, -1], train.context()[None, :, -1])
    assert np.array_equal(found, train.vectors(train.target_row_W[cos.argmax(axis=1)]))


def test_a_neighbour_that_is_remembered_is_the_same(tmp_path, monkeypatch):
    train, other = averages(tmp_path / "t"), averages(tmp_path / "o", seed=1)
    context = torch.from_numpy(other.context())
    nearest = NearestNeighbour(train)
    first = nearest(context).raw_ND
    assert len(nearest.known) == len(context)
    mixed = torch.cat([context[:50].flip(1), context, context[:50]])
    again = nearest(mixed).raw_ND
    assert torch.equal(again[50:], torch.cat([first, first[:50]]))
    assert torch.equal(again[:50], NearestNeighbour(train)(mixed[:50]).raw_ND)
    monkeypatch.setattr("lvm_lab.judge.baselines.nearest.KNOWN", 10)
    assert torch.equal(nearest(context[:20]).raw_ND, first[:20])
    assert len(nearest.known) == 20


def test_the_nearest_neighbour_holds_no_more_windows_than_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr("lvm_lab.judge.baselines._fitting.TRAINING_WINDOWS", 60)
    nearest = NearestNeighbour(averages(tmp_path / "s"))
    assert (nearest.index.index.ntotal, len(nearest.train)) == (60, 60)


@pytest.mark.parametrize("fitted", [best_decay, NearestNeighbour])
def test_without_training_windows_a_sentence(tmp_path, fitted):
    nothing = averages(tmp_path / "s").select(np.array([], dtype=np.int64))
    with pytest.raises(UserError, match=r"needs training windows; bring longer documents\.$"):
        fitted(nothing)
