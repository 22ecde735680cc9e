"""The linear metric as a baseline begins as copy-last, learns which vector and which similarity, and stops on val."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.judge_data import windows_of
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.linear_metric import FittedMetric, MetricSettings, fit_linear_metric
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.predictions import predict
from lvm_lab.types import Stats

DIM = 24
STATS = Stats(torch.zeros(DIM), torch.ones(DIM))
QUICK = MetricSettings(epochs=25, batch_size=64, negatives=8, lr=2e-2)


def third_back(path, documents=50, noise=0.3, seed=0):
    """The next vector is the third before it, turned: the last says nothing, and no copy is near."""
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((DIM, DIM)))[0]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((documents, 18, DIM))
    for t in range(3, 18):
        x[:, t] = x[:, t - 3] @ turn + noise * rng.standard_normal((documents, DIM))
        x[:, t] *= 2 / np.linalg.norm(x[:, t], axis=1, keepdims=True)
    return windows_of(path, x.reshape(-1, DIM).astype(np.float32), 18, normalised=False)


def unseen(predictor, windows):
    return np.nanmean(retrieval_scores(predict(predictor, windows.context())[1], windows)["mrr_unseen"])


def test_it_begins_as_copy_last(tmp_path):
    train = third_back(tmp_path / "t")
    context = torch.from_numpy(train.context())
    begun = fit_linear_metric(train, train, STATS, MetricSettings(epochs=0))(context)
    assert torch.allclose(begun.unit_ND, CopyLast()(context).unit_ND, atol=1e-6)


def test_it_learns_the_mixture_and_the_matrix(tmp_path):
    train, val = third_back(tmp_path / "t"), third_back(tmp_path / "v", documents=20, seed=1)
    metric = fit_linear_metric(train, val, STATS, QUICK)
    assert metric.backbone.metric.weight_T.abs().argmax() == 2
    assert unseen(metric, val) > 0.9 > 0.6 > unseen(CopyLast(), val)
    raw, _ = predict(metric, val.context())
    assert np.linalg.norm(raw, axis=1).mean() == pytest.approx(2, rel=0.01)


def test_where_nothing_can_be_learned_it_stays_what_it_was(tmp_path):
    """Trained on one rule and chosen where the last vector comes again, no epoch is better than the beginning."""
    walk = np.random.default_rng(3).standard_normal((20, 18, DIM)).cumsum(axis=1)
    val = windows_of(tmp_path / "v", walk.reshape(-1, DIM).astype(np.float32), 18)
    metric = fit_linear_metric(third_back(tmp_path / "t"), val, STATS, QUICK)
    assert torch.equal(metric.backbone.metric.weight_T.data, torch.eye(1, 5)[0])
    assert not metric.backbone.metric.change.weight.any()


def test_equal_settings_give_equal_fits_and_draw_nothing_from_the_caller(tmp_path):
    train = third_back(tmp_path / "t", documents=10)
    torch.manual_seed(5)
    expected = torch.rand(3)
    context = torch.from_numpy(train.context())
    settings = MetricSettings(epochs=2, batch_size=64, negatives=4)
    torch.manual_seed(5)
    one, two = (fit_linear_metric(train, train, STATS, settings)(context).raw_ND for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, two)
    other = fit_linear_metric(train, train, STATS, MetricSettings(epochs=2, batch_size=64, negatives=4, seed=1))
    assert not torch.equal(other(context).raw_ND, one)


def test_it_comes_back_from_disk(tmp_path):
    train = third_back(tmp_path / "t", documents=10)
    metric = fit_linear_metric(train, train, STATS, MetricSettings(epochs=2, lr=1e-2))
    metric.save(tmp_path / "cache" / "metric.npz")
    loaded = FittedMetric.load(tmp_path / "cache" / "metric.npz")
    context = torch.from_numpy(train.context())
    assert torch.equal(loaded(context).raw_ND, metric(context).raw_ND)
    with pytest.raises(UserError, match="delete it"):
        FittedMetric.load(tmp_path / "missing.npz")


@pytest.mark.parametrize("empty", ["train", "val"])
def test_without_windows_a_sentence(tmp_path, empty):
    train = third_back(tmp_path / "t", documents=4)
    parts = {"train": train, "val": train} | {empty: train.select(np.array([], dtype=np.int64))}
    with pytest.raises(UserError, match=r"linear metric needs .*bring longer documents\.$"):
        fit_linear_metric(parts["train"], parts["val"], STATS)


def test_documents_without_further_chunks_leave_the_batch(tmp_path):
    """Six chunks are one window: nothing else of the document is left to be a negative."""
    vectors = np.random.default_rng(0).standard_normal((6 * 12, DIM)).astype(np.float32)
    train = windows_of(tmp_path / "t", vectors, 6)
    metric = fit_linear_metric(train, train, STATS, MetricSettings(epochs=2, lr=1e-2))
    assert torch.isfinite(metric(torch.from_numpy(train.context())).raw_ND).all()
