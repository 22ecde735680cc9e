"""A batch that is computed in pieces has the loss and the gradient of the whole one, whatever the loss compares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.fitting import GRU, fit, typed
from lvm_lab.build.training import module
from lvm_lab.config.conf import conf_dir
from lvm_lab.errors import UserError
from lvm_lab.training import pieces
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Batch, Stats

WINDOWS, DIM = 24, 32
HALF = {"lcm_two_tower"}
ARCHS = sorted({file.stem for file in (conf_dir() / "arch").glob("*.yaml")} - HALF - {"ensemble"})
# Its draws are of each row alone, and other draws than those of the whole batch; all else is the same number.
LOSSES = sorted({file.stem for file in (conf_dir() / "loss").glob("*.yaml")} - {"energy", "diffusion"})


def batch(negatives: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    context_BLD, target_BD = (torch.randn(WINDOWS, n, DIM, generator=generator) for n in (5, 1))
    others_BMD = torch.randn(WINDOWS, negatives, DIM, generator=generator) if negatives else None
    mask_BM = torch.rand(WINDOWS, negatives, generator=generator) > 0.3 if negatives else None
    return Batch(context_BLD, target_BD[:, 0], torch.arange(WINDOWS) // 2, others_BMD, mask_BM)


def built(*overrides: str) -> LatentVectorModule:
    codes_QKD = torch.randn(2, 16, DIM, generator=torch.Generator().manual_seed(0))
    stats = Stats(torch.zeros(DIM), torch.ones(DIM), codes_QKD=codes_QKD)
    return module(typed(*overrides), stats, {})


def learned(model: LatentVectorModule, whole: Batch, count: int) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The loss and every gradient, and the terms' shares."""
    model.zero_grad()
    torch.manual_seed(3)
    outputs = None
    if count == 1:
        prediction, supervised = model.supervised(whole)
    else:
        prediction, supervised, outputs = pieces.supervised(model.supervised, whole, count)
    total, parts = model.loss(prediction, supervised, model.stats)
    shares = model.loss.gradient_shares(prediction, parts, outputs)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": total.detach(), **gradients}, shares


def check_pieces(*overrides: str, count: int = 5) -> None:
    model = built(*overrides)
    whole = batch(model_negatives(*overrides))
    (alone, own), (together, shares) = learned(model, whole, 1), learned(model, whole, count)
    assert set(alone) == set(together)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-5, rtol=1e-5, msg=name)
    assert shares == pytest.approx(own, abs=1e-5)


def model_negatives(*overrides: str) -> int:
    return int(typed(*overrides).config["loss"]["negatives"])


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_pieces_have_the_gradient_of_the_batch_under_every_loss(loss: str) -> None:
    head = ("head=quantised", "head.levels=2", "head.codes=16", "head.hidden=16") if loss == "codes" else ()
    check_pieces("arch=gru", "arch.width=16", f"loss={loss}", "arch.dropout=0", *head)
    check_pieces("arch=gru", "arch.width=16", f"loss={loss}", "arch.dropout=0", "trainer.supervision=all", *head)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_pieces_have_the_gradient_of_the_batch_in_every_arch(arch: str) -> None:
    dropout = ("arch.dropout=0",) if "dropout" in typed(f"arch={arch}").config["arch"] else ()
    check_pieces(f"arch={arch}", "loss=hybrid", *dropout)


@pytest.mark.parametrize(
    "overrides",
    [
        ("arch.dropout=0.3",),
        ("arch.dropout=0", "head=energy", "head.hidden=16", "loss=energy"),
        ("arch.dropout=0", "head=diffusion", "head.hidden=16", "loss=diffusion"),
    ],
    ids=["dropout", "energy", "diffusion"],
)
def test_a_piece_is_computed_again_with_the_numbers_that_it_drew(overrides: tuple[str, ...]) -> None:
    """The gradient is that of the very predictions which the loss has seen: a step down it lowers this loss."""
    model = built("arch=gru", "arch.width=16", *overrides)
    whole = batch(0)
    values, _ = learned(model, whole, 3)
    state = torch.get_rng_state()
    epsilon = 1e-3
    squared = sum(float(value.square().sum()) for name, value in values.items() if name != "loss")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in values:
                parameter -= epsilon * values[name] / squared**0.5
    lower, _ = learned(model, whole, 3)
    assert float(values["loss"] - lower["loss"]) == pytest.approx(epsilon * squared**0.5, rel=0.05)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_of_a_piece_is_held_until_its_gradient_is_computed() -> None:
    def held(count: int) -> int:
        sizes: list[int] = []

        def pack(x: torch.Tensor) -> torch.Tensor:
            sizes.append(x.nbytes)
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            if count == 1:
                model.supervised(whole)
            else:
                pieces.supervised(model.supervised, whole, count)
        return sum(sizes)

    model, whole = built("arch=gru", "arch.width=16"), batch(0)
    assert held(4) < held(1) / 10


@pytest.mark.parametrize(("pieces_", "windows"), [(0, 64), (65, 64)])
def test_more_pieces_than_windows_are_refused(pieces_: int, windows: int) -> None:
    with pytest.raises(UserError, match=f"trainer.accumulate={pieces_} cannot cut a batch of {windows} windows"):
        typed(*GRU, f"trainer.accumulate={pieces_}")


@pytest.mark.slow
def test_a_run_in_pieces_is_the_same_run_up_to_rounding(tmp_path: Path) -> None:
    from helpers.commands import rows

    quiet = (*GRU, "arch.dropout=0")
    plain, cut = rows(fit(tmp_path / "plain", *quiet)), rows(fit(tmp_path / "cut", *quiet, "trainer.accumulate=4"))
    for ours, theirs in zip(cut, plain, strict=True):
        for name in ("train/loss", "val/loss", "val/cos", "gradient_share/infonce", "lr", "step"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name
