"""A moving average of the weights is what is validated, judged, kept and loaded; what trains is kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lvm_lab
from helpers.commands import call, rows
from helpers.fitting import GRU, TINY, fit, last, typed
from lvm_lab.build.training import prepare
from lvm_lab.training import averaging
from lvm_lab.training.averaging import WeightAverage

DECAY = 0.9
EMA = f"trainer.ema={DECAY}"
JUDGED = ("five_cat=smoke", "five_cat.eval_windows=0")


def test_the_average_is_the_formulas_and_exchanging_twice_changes_no_bit() -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.BatchNorm1d(2)})
    average = WeightAverage(module, DECAY)
    expected = None
    for step in range(5):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
            module["b"].running_mean.fill_(step)  # type: ignore[operator,union-attr]
        now = module["a"].weight.detach().clone()
        expected = now if expected is None else DECAY * expected + (1 - DECAY) * now
        average.update()
    assert expected is not None
    trained = {name: value.clone() for name, value in module.state_dict().items()}
    torch.testing.assert_close(average.weights()["a.weight"], expected)
    with average.shown():
        torch.testing.assert_close(module["a"].weight.detach(), expected)
        assert torch.equal(average.trained_weights()["a.weight"], trained["a.weight"])
        # Statistics are no weights: the latest hold.
        assert average.weights()["b.running_mean"].tolist() == [4.0, 4.0]
    assert all(torch.equal(value, trained[name]) for name, value in module.state_dict().items())


@pytest.fixture(scope="module", name="averaged")
def _averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an average."""
    work = tmp_path_factory.mktemp("averaged")
    outcome = call(work, *TINY, *GRU, EMA, *JUDGED, f"run.dir={work / 'run'}", f"run.cache={work / 'cache'}")
    assert outcome.code == 0, outcome.err
    return work / "run"


@pytest.mark.slow
def test_a_run_with_an_average_trains_the_same_and_keeps_another(averaged: Path, tmp_path: Path) -> None:
    plain = fit(tmp_path / "run", *GRU, *JUDGED)
    for ours, theirs in zip(rows(averaged), rows(plain), strict=True):
        assert ours["train/loss"] == theirs["train/loss"]
        assert ours["val/loss"] != theirs["val/loss"]
    ours, theirs = last(averaged), last(plain)
    assert averaging.KEY not in theirs
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours[averaging.KEY][averaging.TRAINED][name], value), name
    assert ours[averaging.KEY]["updates"] == ours["global_step"]
    assert any(not torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "best_5cat.ckpt"])
def test_any_reader_sees_a_plain_model_with_the_average(averaged: Path, name: str) -> None:
    model = lvm_lab.load(averaged / "checkpoints" / name)
    contents = torch.load(averaged / "checkpoints" / name, weights_only=True)
    assert (averaging.KEY in contents) == (name == "last.ckpt")
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in contents["state_dict"].items() if key in state)


@pytest.mark.slow
def test_what_begins_with_such_a_run_takes_the_average_and_what_trains_it_longer_the_trained(averaged: Path) -> None:
    checkpoint: dict[str, Any] = last(averaged)
    average, trained = checkpoint["state_dict"], averaging.trained(checkpoint)
    assert any(not torch.equal(average[name], trained[name]) for name in trained)
    file = averaged / "checkpoints" / "last.ckpt"
    for setting, expected in ((f"init_from={file}", average), (f"continue_from={averaged}", trained)):
        begun = prepare(typed(*GRU, *JUDGED, f"trainer.{setting}")).module.model.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in begun.items()), setting


def test_a_checkpoint_without_an_average_trains_its_own_weights() -> None:
    weights = {"a": torch.zeros(1)}
    assert averaging.trained({"state_dict": weights}) is weights
