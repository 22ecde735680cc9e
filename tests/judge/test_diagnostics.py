"""Collapse, copying and scale are seen where they are and nowhere else; history and command hold the numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import ENVIRONMENT, PATIENCE, TINY, Outcome, call, only_run, rows
from helpers.judge_data import DIM, Leaky, moving_average, predictor, windows_of
from lvm_lab import diagnose
from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import cut_parts
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.data.windows import sample_evenly
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.baselines.global_mean import GlobalMean
from lvm_lab.judge.diagnostics import Outputs, Spread, history_row
from lvm_lab.judge.metrics import part_metrics, part_metrics_and_moments
from lvm_lab.types import Prediction, Stats

STATS = Stats(torch.ones(DIM), torch.full((DIM,), 0.5))


def spread_of(x_ND: np.ndarray, slices: int = 3) -> Spread:
    spread = Spread(x_ND.shape[1], covariance=True)
    for part in np.array_split(x_ND, slices):
        spread.add(part)
    return spread


def units(rows: int, dim: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((rows, dim)) + 0.3
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def alarms(predict: Any, windows: Any, stats: Stats = STATS) -> list[str]:
    return [alarm["name"] for alarm in part_metrics(predict, windows, stats, resamples=100)["alarms"]]


@pytest.mark.parametrize(
    ("spectrum", "expected"),
    [([1, 1, 1, 1], 4), ([5, 0, 0, 0], 1), ([2, 1, 0, 0], 9 / 5), ([4, 2, 1, 1], 64 / 22)],
)
def test_effective_rank_of_a_hand_made_spectrum(spectrum, expected):
    """Rows at plus and minus sqrt(D l) along each axis have exactly these eigenvalues, turned or not."""
    axes = np.diag(np.sqrt(4.0 * np.array(spectrum)))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    for x_ND in (np.concatenate([axes, -axes]), 7 + np.concatenate([axes, -axes]) @ turn):
        assert spread_of(x_ND).effective_rank == pytest.approx(expected, rel=1e-5)


def test_a_spread_is_numpys_whatever_the_slices():
    x_ND = units(101, 12, 1)
    cosines_NN = x_ND @ x_ND.T
    for slices in (1, 3, 100):
        spread = spread_of(x_ND, slices)
        assert spread.mean_D == pytest.approx(x_ND.mean(0))
        assert spread.std_D == pytest.approx(x_ND.std(0))
        assert spread.pairwise_cos == pytest.approx((cosines_NN.sum() - 101) / (101 * 100))
        eigenvalues = np.linalg.eigvalsh(np.cov(x_ND.T))
        assert spread.effective_rank == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-5)


def test_a_spread_keeps_its_digits_around_a_large_mean():
    x_ND = 1e6 + np.random.default_rng(0).standard_normal((500, 4))
    assert spread_of(x_ND).std_D == pytest.approx(x_ND.std(0), rel=1e-6)
    assert spread_of(np.full((50, 4), 0.1)).effective_rank == 0


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(2, 9))
def test_a_rotation_leaves_rank_and_pairwise_cosine_alone(seed, count, dim):
    x_ND = units(count, dim, seed)
    turn_DD = np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((dim, dim)))[0]
    before, after = spread_of(x_ND), spread_of(x_ND @ turn_DD)
    assert after.effective_rank == pytest.approx(before.effective_rank, rel=1e-4)
    assert after.pairwise_cos == pytest.approx(before.pairwise_cos, abs=1e-9)
    assert before.effective_rank <= min(dim, count - 1) * (1 + 1e-4)


@given(st.floats(0.1, 10), st.floats(-2, 2), st.integers(0, 100))
def test_moments_follow_scale_and_shift_of_raw_and_unit_numbers_do_not(scale, shift, seed):
    target_ND = units(60, 7, seed)
    outputs = Outputs(7)
    outputs.add(scale * target_ND, target_ND, target_ND)
    found = outputs.numbers()
    assert list(found["std_ratio"].values()) == pytest.approx([scale] * 3)
    assert list(found["unit_std_ratio"].values()) == pytest.approx([1] * 3)
    assert found["unit_mean_z"] == pytest.approx(0, abs=1e-9)
    moved = Outputs(7)
    moved.add(target_ND + shift * target_ND.std(0), target_ND, target_ND)
    assert moved.numbers()["mean_z"] == pytest.approx(abs(shift), abs=1e-6)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return windows_of(tmp_path_factory.mktemp("store") / "s", moving_average(20))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    home, settings = tmp_path_factory.mktemp("planted"), DataSettings()
    opened = PlantedWorld(dim=128, documents=120, ood_documents=2).open(home, settings)
    return cut_parts(opened, settings, home, every_position=False)


def test_each_fault_is_called_by_its_name(world):
    constant = predictor(lambda x: torch.ones(len(x), DIM))
    assert alarms(constant, world) == ["collapsed", "flattened"]
    assert alarms(CopyLast(), world) == ["copying"]
    leaky = Leaky(world)
    assert alarms(leaky, world) == []
    for factor, name in ((0.7, "flattened"), (1.3, "blown up")):
        scaled = lambda x, f=factor: Prediction(f * leaky(x).raw_ND, leaky(x).unit_ND)  # noqa: E731
        assert alarms(scaled, world) == [name]
    assert alarms(predictor(lambda x: -leaky(x).raw_ND), world, Stats(torch.zeros(DIM), STATS.std_D)) == [
        "copying",
        "below a constant",
    ]


def test_nearly_one_direction_is_collapsed_even_if_it_is_spread_over_all_dims(world):
    """Small noise around one vector has full rank and no variety; few directions have variety and no rank."""
    noise = torch.nn.functional.normalize(torch.randn(DIM, generator=torch.Generator().manual_seed(0)), dim=0)
    assert "collapsed" in alarms(predictor(lambda x: noise + 0.1 * x[:, -1]), world)
    two = torch.linalg.qr(torch.randn(DIM, 2, generator=torch.Generator().manual_seed(1)))[0]
    assert "collapsed" in alarms(predictor(lambda x: x[:, -1] @ two @ two.T), world)


def test_the_planted_oracle_has_no_alarm_and_trivial_predictors_have_theirs(planted):
    sample = sample_evenly(planted.val, 500, 0)
    assert alarms(planted.oracle("cpu"), sample, planted.stats) == []
    assert alarms(CopyLast(), sample, planted.stats) == ["copying"]
    assert alarms(GlobalMean(planted.stats.mean_D), sample, planted.stats) == ["collapsed", "flattened"]


def test_numbers_against_a_loop(world):
    stats = Stats(torch.randn(DIM, generator=torch.Generator().manual_seed(3)), STATS.std_D)
    found, moments = part_metrics_and_moments(predictor(lambda x: 2 * x[:, -1] + x[:, 0]), world, stats, resamples=20)
    context, target = world.context(), world.vectors(world.target_row_W)
    raw = 2 * context[:, -1] + context[:, 0]
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    mean = stats.mean_D.numpy() / np.linalg.norm(stats.mean_D)
    cos = (unit * target).sum(1)
    assert found["gain_over_mean"]["value"] == pytest.approx((cos - target @ mean).mean(), abs=1e-6)
    assert found["last_margin"]["value"] == pytest.approx((cos - (unit * context[:, -1]).sum(1)).mean(), abs=1e-6)
    for prefix, mine in (("", raw), ("unit_", unit)):
        away = np.abs(mine.mean(0) - target.mean(0)) / target.std(0)
        assert found[f"{prefix}mean_z"] == pytest.approx(away.mean(), rel=1e-4)
        ends = np.percentile(mine.std(0) / target.std(0), [5, 50, 95])
        assert list(found[f"{prefix}std_ratio"].values()) == pytest.approx(ends, rel=1e-4)
    assert found["diversity"]["prediction"] == (unit.std(0) > 0.01).mean()
    assert moments.unit_std_D == pytest.approx(unit.std(0), rel=1e-4)
    assert moments.raw_mean_D == pytest.approx(raw.mean(0), abs=1e-6)
    json.dumps(found, allow_nan=False)
    row = history_row(found)
    assert row["effective_rank_target"] == found["effective_rank"]["target"]
    assert all(isinstance(value, float | list) for value in row.values())


def test_a_broken_predictor_leaves_the_count_and_no_score(world):
    broken = part_metrics(predictor(lambda x: x[:, -1] * float("inf")), world, STATS)
    assert history_row(broken) == {"not_finite": len(world)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run that has been trained by the command; its cache lies beside outputs/."""
    work = tmp_path_factory.mktemp("run")
    done = call(work, *TINY, f"run.cache={work / 'cache'}", "5cat.every_n_epochs=1", "5cat.max_windows=1000")
    assert done.code == 0, done.err
    return only_run(work / "outputs")


def test_the_history_and_the_result_hold_the_diagnostics(finished):
    names = {"gain_over_mean", "last_margin", "std_ratio", "unit_mean_z", "effective_rank", "pairwise_cos", "alarms"}
    for row in rows(finished):
        assert {f"diagnosis/{name}" for name in names} <= set(row)
        assert row["diagnosis/effective_rank_target"] > 10
    val = json.loads((finished / "result.json").read_text())["val"]
    assert val["effective_rank"]["target"] == pytest.approx(rows(finished)[-1]["diagnosis/effective_rank_target"])
    assert all(set(alarm) == {"name", "measured", "check"} for alarm in val["alarms"])


def test_no_judgement_means_no_diagnosis(finished):
    work = finished.parents[1]
    done = call(work, *TINY, f"run.cache={work / 'cache'}", "trainer.max_epochs=1", "5cat=off", "run.dir=off")
    assert done.code == 0, done.err
    assert not any(name.startswith("diagnosis/") for row in rows(work / "off") for name in row)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    try:
        code = diagnose.main([str(a) for a in arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    said = capsys.readouterr()
    return Outcome(code, said.out, said.err)


def test_the_command_shows_what_the_result_says(finished, tmp_path, capsys):
    shown = told(capsys, finished, "--json", tmp_path / "numbers.json", "--device", "cpu")
    assert (shown.code, shown.err) == (0, "")
    assert "effective rank (participation ratio)" in shown.out
    result = json.loads((finished / "result.json").read_text())
    (numbers,) = json.loads((tmp_path / "numbers.json").read_text()).values()
    for name in ("cos", "last_margin"):
        assert numbers[name]["value"] == pytest.approx(result["val"][name]["value"], abs=1e-5)
    for alarm in numbers["alarms"]:
        assert f"{alarm['name'].upper()}: " in shown.out
    ood = told(capsys, finished / "checkpoints" / "best.ckpt", "--part", "ood", "--windows", 50, "--device", "cpu")
    assert ood.code == 0
    assert "OOD: 50 windows" in ood.out


def vectors(file: Path, dim: int) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, dim)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.savez(file, vectors=x, article_ids=np.repeat(np.arange(40), 10), chunk_indices=np.tile(np.arange(10), 40))
    return file


def test_mistakes_get_one_sentence(finished, tmp_path, capsys):
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes((finished / "checkpoints" / "best.ckpt").read_bytes()[:1000])
    other = vectors(tmp_path / "other.npz", 64)
    half = tmp_path / "half"
    shutil.copytree(finished, half)
    (half / "result.json").unlink()
    for arguments, words in (
        ([tmp_path / "nothing"], "matches no file and no folder"),
        ([torn], "is no readable checkpoint"),
        ([half], "is not finished"),
        ([finished, "--windows", 0], "--windows 0"),
        ([finished, "--data", tmp_path / "missing.npz"], "missing.npz does not exist"),
        ([finished, "--data", "file:///no/store"], "file:///no/store is no store that can be read"),
        ([finished, "--data", other], "dim"),
        ([finished, "--json", torn / "file.json"], "torn.ckpt"),
    ):
        refused = told(capsys, *arguments, "--device", "cpu")
        assert refused.code == 2, arguments
        assert words in refused.sentence, refused.err
    if not torch.cuda.is_available():
        assert "has no cuda device" in told(capsys, finished, "--device", "cuda").sentence


GUARD = """
import runpy, sys
name = sys.argv.pop(1)
code = 0
sys.argv[0] = name
try:
    runpy.run_module(name, run_name="__main__", alter_sys=True)
except SystemExit as leaving:
    code = leaving.code
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "code", "words"),
    [
        ("lvm_lab.diagnose", ["--help"], 0, "RUN_OR_CHECKPOINT"),
        ("lvm_lab.diagnose", ["nothing.ckpt"], 2, "error: nothing.ckpt matches no file"),
        ("lvm_lab.check_data", ["--help"], 0, "Examine data before training"),
        ("lvm_lab.check_data", ["data=nope"], 2, "error: data=nope does not exist"),
        # The rows of a table are runs, and a run that ends without a result would be given up as failed.
        ("lvm_lab.check_data", ["-m", "schedule=smoke"], 2, "error: schedule does not exist"),
    ],
)
def test_the_commands_answer_without_torch(tmp_path, module, arguments, code, words):
    done = subprocess.run(
        [sys.executable, "-c", GUARD, module, *arguments],
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
