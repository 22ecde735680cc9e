"""Every architecture in every precision: it trains, goes on, is judged, and its checkpoint says what the model said."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from helpers.commands import TINY as COMMAND
from helpers.commands import call
from lvm_lab.build.load import load
from lvm_lab.build.training import module, prepare
from lvm_lab.config.settings import DeviceSettings, settings
from lvm_lab.errors import UserError
from lvm_lab.jobs.session import Session
from lvm_lab.model import KEY, read_checkpoint
from lvm_lab.runs import folder as runs
from lvm_lab.training import devices
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Batch, Stats
from training.test_training import ARCHS, SMALL, config, overrides_for, shrunk

WORLD = ("data.dim=16", "data.documents=30", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
# What a CPU computes in; 16-mixed is refused there, and 32-true has the golden curves.
PRECISIONS = ("bf16-mixed", "64-true")
# Beyond it convolutions are transforms, scans are chunked and Mamba-2's chunks are several.
LONG = 70


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def overrides(arch: str, precision: str) -> list[str]:
    sizes = shrunk("arch", arch, SMALL | {"width": 16, "heads": 2, "head_dim": 8})
    return [*WORLD, *overrides_for(arch), *sizes, f"trainer.precision={precision}"]


def train(folder: Path, *changes: str) -> tuple[list[dict[str, Any]], LatentVectorModule]:
    """The history and the module of a run that is begun, or taken up, in `folder`."""
    run_settings = settings(config(f"run.dir={folder}", *changes))
    data, model, content, _ = prepare(run_settings)
    claimed = runs.claim(run_settings.config, content, directory=str(folder), root=folder.parent, force=False)
    with claimed as run, Session(run_settings, data, run, Console(quiet=True)) as session:
        session.fit(model)
        return run.read_history(), model


def check_checkpoint(folder: Path) -> None:
    """What is loaded is float32 and says what the model said when it was saved."""
    file = folder / "checkpoints" / "best.ckpt"
    golden = read_checkpoint(file)[KEY]
    model = load(file)
    assert {x.dtype for x in model.state_dict().values() if x.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(
        model.golden_output(golden["golden_input"]), golden["golden_output"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("precision", PRECISIONS)
# One of attention and one of recurrence by default, and every other among the slow.
@pytest.mark.parametrize(
    "arch", [a if a in ("gru", "transformer") else pytest.param(a, marks=pytest.mark.slow) for a in ARCHS]
)
def test_every_arch_trains_and_is_loaded(arch: str, precision: str, tmp_path: Path, cache: Path) -> None:
    (row,), model = train(tmp_path / "run", *overrides(arch, precision), "trainer.max_epochs=1", f"run.cache={cache}")
    assert all(math.isfinite(row[key]) for key in ("train/loss", "val/loss", "val/cos")), row
    assert {p.dtype for p in model.parameters()} == {torch.float64 if precision == "64-true" else torch.float32}
    check_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.slow
def test_an_ensemble_trains_and_is_loaded(precision: str, tmp_path: Path, cache: Path) -> None:
    more = ("trainer.max_epochs=1", f"run.cache={cache}")
    train(tmp_path / "gru", *overrides("gru", precision), *more)
    member = tmp_path / "gru" / "checkpoints" / "best.ckpt"
    listed = f"arch.members=['{member}','{member}']"
    mix = (*WORLD, "arch=ensemble", listed, "arch.mix=gate", f"trainer.precision={precision}")
    (row,), _ = train(tmp_path / "run", *mix, *more)
    assert math.isfinite(row["train/loss"])
    check_checkpoint(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_long_contexts_have_the_loss_of_float64_and_finite_gradients(arch: str) -> None:
    generator = torch.Generator().manual_seed(0)
    dim = 16
    vectors_BLD = torch.nn.functional.normalize(torch.randn(8, LONG + 1, dim, generator=generator), dim=-1)
    stats = Stats(torch.zeros(dim), torch.full((dim,), dim**-0.5))
    losses = {}
    for precision in PRECISIONS:
        run_settings = settings(config(*overrides(arch, precision), f"data.context_length={LONG}"))
        model = module(run_settings, stats, {}).eval()
        batch = Batch(vectors_BLD[:, :-1], vectors_BLD[:, -1], torch.arange(8))
        if precision == "64-true":
            model, batch = model.double(), Batch(batch.context_BLD.double(), batch.target_ND.double(), batch.document_N)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            prediction, supervised = model.supervised(batch)
        _, total, _ = model._judged(prediction, supervised)
        total.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        losses[precision] = float(total.detach())
    assert losses["bf16-mixed"] == pytest.approx(losses["64-true"], rel=0.03)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    precision: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = (*overrides("gru", precision), "trainer.max_epochs=2", f"run.cache={cache}")
    whole, _ = train(tmp_path / "whole", *changes)
    begin = LatentVectorModule.on_train_epoch_start

    def full_disk(self: LatentVectorModule) -> None:
        begin(self)
        if self.current_epoch == 1:
            raise OSError("no space left")

    monkeypatch.setattr(LatentVectorModule, "on_train_epoch_start", full_disk)
    with pytest.raises(OSError, match="no space left"):
        train(tmp_path / "run", *changes)
    monkeypatch.setattr(LatentVectorModule, "on_train_epoch_start", begin)
    rows, model = train(tmp_path / "run", *changes)
    assert [row["train/loss"] for row in rows] == [row["train/loss"] for row in whole]
    assert {p.dtype for p in model.parameters()} == {torch.float64 if precision == "64-true" else torch.float32}


def test_what_a_device_does_not_compute_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = call(tmp_path, *COMMAND, "trainer.precision=16-mixed")
    assert refusal.code == 2
    assert refusal.sentence == (
        "trainer.precision=16-mixed needs a GPU; on a CPU set trainer.precision=bf16-mixed or 32-true."
    )
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"MPS devices have no float64; set trainer.precision=32-true or device=cpu"):
        devices.check_precision("64-true", DeviceSettings(accelerator="mps"))
    devices.check_precision("16-mixed", DeviceSettings(accelerator="mps"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for precision in ("32-true", "bf16-mixed", "16-mixed", "64-true"):
        devices.check_precision(precision, DeviceSettings())
