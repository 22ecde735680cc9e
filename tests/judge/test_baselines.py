"""What a model has to beat is what it says it is, and the plain numbers are right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from helpers.judge_data import DIM, Leaky, linear, moving_average, predictor, preset, windows_of
from lvm_lab.errors import UserError
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.global_mean import GlobalMean
from lvm_lab.judge.baselines.mean_of_context import MeanOfContext
from lvm_lab.judge.baselines.ridge import Ridge, fit_ridge
from lvm_lab.judge.five_cat import measure_part
from lvm_lab.judge.metrics import lifts, part_metrics
from lvm_lab.types import Prediction, Stats

CONTEXT = torch.randn(7, 5, 12, generator=torch.Generator().manual_seed(0))
STATS = Stats(torch.zeros(DIM), torch.full((DIM,), 0.5))


def linear_world(path, documents=30, length=14, dim=8, noise=0.01, seed=0):
    """The next vector is a fixed linear function of the last two and a constant."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    one, two = (0.7 * np.linalg.qr(world.standard_normal((dim, dim)))[0] for _ in range(2))
    x = rng.standard_normal((documents, length, dim))
    for t in range(2, length):
        step = x[:, t - 1] @ one + 0.7 * x[:, t - 2] @ two + 1.0
        x[:, t] = step + noise * rng.standard_normal(step.shape)
    return windows_of(path, x.reshape(-1, dim).astype(np.float32), length, context_length=3, normalised=False)


def test_the_simple_ones():
    mean = torch.arange(12.0)
    for baseline, expected in (
        (CopyLast(), CONTEXT[:, 4]),
        (MeanOfContext(), CONTEXT.mean(1)),
        (GlobalMean(mean), mean.expand(7, 12)),
    ):
        found = baseline(CONTEXT)
        assert found.raw_ND.shape == (7, 12)
        assert torch.equal(found.raw_ND, expected)
        assert torch.allclose(found.unit_ND, expected / expected.norm(dim=1, keepdim=True))


def test_ridge_finds_a_linear_rule_and_its_bias(tmp_path):
    train, val = linear_world(tmp_path / "t"), linear_world(tmp_path / "v", seed=1)
    ridge = fit_ridge(train, val, penalties=(1e-6, 100.0))
    assert ridge.penalty == 1e-6
    found = ridge(torch.from_numpy(val.context())).raw_ND.numpy()
    assert np.abs(found - val.vectors(val.target_row_W)).mean() < 0.05
    assert ridge.bias_D.abs().min() > 0.3


@pytest.mark.parametrize("documents", [1, 30])
def test_ridge_solves_its_normal_equations_in_both_forms(tmp_path, documents):
    """11 windows of 24 features take the dual form, 330 the primal one; both are the textbook's answer."""
    train = linear_world(tmp_path / "s", documents, noise=0.5)
    assert (len(train) < 24) == (documents == 1)
    ridge = fit_ridge(train, train, penalties=(0.1,))
    x, y = train.context().reshape(len(train), -1).astype(np.float64), train.vectors(train.target_row_W)
    centred = x - x.mean(0)
    penalty = 0.1 * np.square(centred).sum() / x.shape[1]
    weight = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean(0)))
    assert ridge.weight_FD.numpy() == pytest.approx(weight, abs=1e-5)
    assert ridge.bias_D.numpy() == pytest.approx(y.mean(0) - x.mean(0) @ weight, abs=1e-4)


def test_ridge_chooses_its_penalty_on_val(tmp_path):
    """Trained on noise, the least wrong is the strongest penalty: it falls back to the mean."""
    noise = np.random.default_rng(0).standard_normal((14 * 4, 8)).astype(np.float32) + 1
    train = windows_of(tmp_path / "t", noise, 14, context_length=3)
    val = windows_of(tmp_path / "v", noise[::-1].copy() + 0.1, 14, context_length=3)
    assert fit_ridge(train, val, penalties=(1e-6, 1000.0)).penalty == 1000.0


def test_ridge_reads_no_more_windows_than_it_says(tmp_path, monkeypatch):
    train = linear_world(tmp_path / "t", noise=0.5)
    monkeypatch.setattr("lvm_lab.judge.baselines._fitting.TRAINING_WINDOWS", 60)
    some, again, other = (fit_ridge(train, train, seed) for seed in (0, 0, 1))
    assert torch.equal(some.weight_FD, again.weight_FD)
    assert not torch.equal(some.weight_FD, other.weight_FD)


def test_slices_change_no_fit(tmp_path, monkeypatch):
    train = linear_world(tmp_path / "t", noise=0.5)
    whole = fit_ridge(train, train)
    monkeypatch.setattr("lvm_lab.judge.baselines.ridge.SLICE", 50)
    assert torch.allclose(fit_ridge(train, train).weight_FD, whole.weight_FD, atol=1e-5)


def test_ridge_comes_back_from_disk(tmp_path):
    train = linear_world(tmp_path / "t")
    ridge = fit_ridge(train, train)
    ridge.save(tmp_path / "cache" / "ridge.npz")
    loaded = Ridge.load(tmp_path / "cache" / "ridge.npz")
    context = torch.from_numpy(train.context())
    assert torch.equal(loaded(context).raw_ND, ridge(context).raw_ND)
    assert loaded.penalty == ridge.penalty
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["ridge.npz"]


def test_a_torn_or_pickled_ridge_is_refused(tmp_path):
    train = linear_world(tmp_path / "t")
    fit_ridge(train, train).save(tmp_path / "ridge.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "ridge.npz").read_bytes()[:200])
    pickled = np.array([{}], dtype=object)
    np.savez(tmp_path / "pickled.npz", weight_FD=pickled, bias_D=pickled, penalty=pickled)
    for name in ("torn", "pickled", "missing"):
        with pytest.raises(UserError, match="delete it"):
            Ridge.load(tmp_path / f"{name}.npz")


def test_ridge_without_windows_says_so(tmp_path):
    train = linear_world(tmp_path / "t")
    with pytest.raises(UserError, match="windows"):
        fit_ridge(train, train.select(np.array([], dtype=np.int64)))


def test_ridge_without_a_solution_says_so(tmp_path, monkeypatch):
    """No store holds vectors that lead there; a fit may still meet them some day."""

    def refuses(_):
        raise torch.linalg.LinAlgError

    train = windows_of(tmp_path / "s", 3 * moving_average(6), normalised=False)
    monkeypatch.setattr(torch.linalg, "cholesky", refuses)
    with pytest.raises(UserError, match="far too long"):
        fit_ridge(train, train)


def test_metrics_against_a_loop(tmp_path):
    windows = windows_of(tmp_path / "s", 3 * moving_average(6), normalised=False)
    found = part_metrics(linear(DIM), windows, STATS, resamples=50)
    answer = linear(DIM)(torch.from_numpy(windows.context()))
    raw, unit = answer.raw_ND.numpy(), answer.unit_ND.numpy()
    target, last = windows.vectors(windows.target_row_W), windows.vectors(windows.rows(0))

    def cos(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    expected = {
        "cos": cos(unit, target).mean(),
        "mse": np.square(raw - target).mean(),
        "mse_standardised": np.square((raw - target) / 0.5).mean(),
        "raw_norm": np.linalg.norm(raw, axis=1).mean(),
        "target_norm": 3.0,
        "copying": cos(unit, last).mean(),
        "gain_over_copy": (cos(unit, target) - cos(last, target)).mean(),
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, rel=1e-4)
    for name in expected:
        assert found[name]["interval"][0] <= found[name]["value"] <= found[name]["interval"][1]
    ratio = raw.std(0) / target.std(0)
    assert [found["std_ratio"][k] for k in ("low", "median", "high")] == pytest.approx(
        np.percentile(ratio, [5, 50, 95]), rel=1e-4
    )
    assert (found["windows"], found["documents"], found["not_finite"]) == (66, 6, 0)
    json.dumps(found, allow_nan=False)


def test_metrics_of_a_copy_of_a_shrunken_and_of_a_broken_predictor(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(6))
    copied = part_metrics(CopyLast(), windows, STATS)
    assert copied["copying"]["value"] == pytest.approx(1)
    assert copied["gain_over_copy"]["value"] == pytest.approx(0, abs=1e-6)
    leaky = Leaky(windows)
    shrunken = part_metrics(lambda x: Prediction(0.3 * leaky(x).raw_ND, leaky(x).unit_ND), windows, STATS)
    assert shrunken["cos"]["value"] == pytest.approx(1)
    assert shrunken["std_ratio"]["median"] == pytest.approx(0.3, rel=1e-3)
    broken = part_metrics(predictor(lambda x: x[:, -1] * float("nan")), windows, STATS)
    assert (broken["not_finite"], "cos" in broken) == (66, False)


def test_lifts_are_paired(tmp_path):
    windows = windows_of(tmp_path / "s", moving_average(30))
    copied = measure_part(CopyLast(), windows, preset())
    found = lifts(measure_part(Leaky(windows), windows, preset()), copied)
    assert found["A/cos"].value == pytest.approx(1 - copied.values()["A/cos"], abs=1e-6)
    assert found["B/r1"].value == 1
    zero = lifts(copied, copied)["A/margin"]
    assert (zero.value, zero.low, zero.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="different windows"):
        lifts(copied, measure_part(CopyLast(), windows, preset(), at_most=50))
