"""A run that was cut off inside an epoch goes on there, and ends bit by bit as one that nothing interrupted."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import lvm_lab
from helpers.commands import rows
from helpers.fitting import BATCHES, GRU, check_same, cut_off, fit, last, typed
from lvm_lab.data.sampler import DiverseBatches, Draw, Resumable
from lvm_lab.runs.identity import fingerprint
from lvm_lab.training import inside_epoch

AFTER_EACH_BATCH = "trainer.checkpoint.every_minutes=1e-9"


@pytest.fixture(scope="module", name="unbroken")
def _unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("unbroken") / "run", *GRU)


def test_sigterm_inside_an_epoch_saves_and_the_run_goes_on_from_there(unbroken: Path, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    step = BATCHES + 4
    cut_off(tmp_path / "run", step, signal.SIGTERM, *GRU)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert inside_epoch.progress(last(tmp_path / "run"))[:2] == (1, 4)
    assert last(tmp_path / "run")["global_step"] == step
    lvm_lab.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    taken: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvm_lab.data.batches.WindowBatches.__getitem__", counted(taken))
        fit(tmp_path / "run", *GRU)
    # What was trained on is not gathered again, and the rest comes in the same order.
    assert taken == list(range(4, BATCHES))
    check_same(tmp_path / "run", unbroken)


def counted(taken: list[int]) -> Any:
    from lvm_lab.data.batches import WindowBatches

    inner = WindowBatches.__getitem__

    def getitem(self: WindowBatches, draw: Draw) -> Any:
        if len(draw.seed) == 3:
            taken.append(draw.seed[2])
        return inner(self, draw)

    return getitem


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, BATCHES, BATCHES + 1, 2 * BATCHES])
def test_killed_anywhere_the_last_batch_that_was_saved_is_gone_on_from(
    unbroken: Path, tmp_path: Path, step: int
) -> None:
    """What is saved after each batch changes nothing that is computed, and neither does going on from it."""
    cut_off(tmp_path / "run", step, signal.SIGINT, *GRU, AFTER_EACH_BATCH)
    epochs, batches = divmod(step - 1, BATCHES)
    assert inside_epoch.progress(last(tmp_path / "run"))[:2] == (epochs, batches)
    fit(tmp_path / "run", *GRU)
    check_same(tmp_path / "run", unbroken)


MORE = {
    "noise": ("arch=gru", "arch.width=16", "head=diffusion", "head.hidden=16", "loss=diffusion"),
    "average": (*GRU, "trainer.ema=0.9"),
    "pieces": (*GRU, "trainer.accumulate=3"),
    "every position": (*GRU, "trainer.supervision=all", "trainer.patience=1", "trainer.max_epochs=3"),
    "float64": (*GRU, "trainer.precision=64-true"),
    "bfloat16": (*GRU, "trainer.precision=bf16-mixed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_whatever_is_trained_goes_on_as_unbroken(tmp_path: Path, name: str) -> None:
    overrides = MORE[name]
    unbroken = fit(tmp_path / "unbroken", *overrides)
    for step in (3, 5):
        # The second is counted from where the first was cut off: the same epoch is left twice.
        cut_off(tmp_path / "run", step, signal.SIGTERM, *overrides)
    assert inside_epoch.progress(last(tmp_path / "run"))[:2] == (0, 8)
    fit(tmp_path / "run", *overrides)
    check_same(tmp_path / "run", unbroken)


@pytest.mark.slow
def test_the_time_before_the_cut_counts(tmp_path: Path) -> None:
    cut_off(tmp_path / "run", 5, signal.SIGTERM, *GRU)
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = last(tmp_path / "run")
    checkpoint["inside_epoch"]["seconds"] = 1000.0
    torch.save(checkpoint, file)
    fit(tmp_path / "run", *GRU)
    first, second = (row["seconds"] for row in rows(tmp_path / "run"))
    assert 1000 < first < 2000
    assert second < 1000


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["null", "0"])
def test_never_means_never_and_ctrl_c_saves_nothing(tmp_path: Path, setting: str) -> None:
    cut_off(tmp_path / "run", 5, signal.SIGINT, *GRU, f"trainer.checkpoint.every_minutes={setting}")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_when_it_is_saved_is_no_part_of_a_run() -> None:
    every = [typed(*GRU, f"trainer.checkpoint.every_minutes={minutes}").config for minutes in ("10", "0.5", "null")]
    assert len({fingerprint(config, {}) for config in every}) == 1
    older = every[0] | {"trainer": {k: v for k, v in every[0]["trainer"].items() if k not in ("accumulate", "ema")}}
    older["trainer"]["checkpoint"] = {"every_n_epochs": 0, "keep_best": 0}
    assert fingerprint(older, {}) == fingerprint(every[0], {})
    for another in ("trainer.accumulate=2", "trainer.ema=0.99", "trainer.checkpoint.keep_best=1"):
        assert fingerprint(typed(*GRU, another).config, {}) != fingerprint(every[0], {})


def test_batches_are_left_out_once_and_in_the_epoch_that_is_set_after_the_iterator_is_made() -> None:
    def drawn(sampler: Resumable, epoch: int) -> list[list[int]]:
        iterator = iter(sampler)
        sampler.set_epoch(epoch)
        return [draw.positions.tolist() for draw in iterator]

    whole, resumed = (Resumable(DiverseBatches(np.repeat(np.arange(10), 6), 6, 4, seed=0)) for _ in range(2))
    resumed.skip(3)
    assert len(resumed) == len(whole)
    assert drawn(resumed, 1) == drawn(whole, 1)[3:]
    assert drawn(resumed, 2) == drawn(whole, 2)


def test_another_number_of_devices_shares_the_sums_and_draws_anew() -> None:
    """Random states of two processes are not those of one; the sums' mean is what an epoch's numbers are of."""
    states = [
        {"random": {"device": ("cpu", None)}, "module": {"metrics": {}, "sums": {"loss": torch.tensor(x)}, "count": 4}}
        for x in (1.0, 3.0)
    ]
    received: list[Any] = []
    module = SimpleNamespace(device=torch.device("cpu"), load_epoch_state=received.extend)
    trainer: Any = SimpleNamespace(world_size=1, global_rank=0)
    inside = {"batches": 4, "seconds": 1.0, "ranks": states}
    assert not inside_epoch.restore(inside, trainer, cast(Any, module))
    assert received == [state["module"] for state in states]
