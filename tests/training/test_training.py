"""Every architecture under every loss, the trainer's golden curves, and equal seeds for equal histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from lvm_lab.build.training import module, prepare
from lvm_lab.commands import launch as cli
from lvm_lab.config.settings import Settings, settings
from lvm_lab.jobs import session
from lvm_lab.runs import folder as runs
from lvm_lab.training import weight_decay
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Batch, Stats

CONF = cli.conf_dir()
GOLDEN = Path(__file__).parents[1] / "golden"
# An ensemble is made of trained runs: tests/test_ensemble.py.
ARCHS = sorted(file.stem for file in (CONF / "arch").glob("*.yaml") if file.stem != "ensemble")
LOSSES = sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))
# What a loss needs, and the arch that is half a model without it; every other pair is refused (tests/test_heads.py).
HEADS = {"diffusion": ["diffusion", "two_tower"], "energy": ["energy"], "codes": ["quantised"]}
HALF = {"lcm_two_tower": "two_tower"}
TRIPLES = [
    (arch, loss, head)
    for arch in ARCHS
    for loss in LOSSES
    for head in HEADS.get(loss, ["dual"])
    # The metric speaks in vectors of unit length, on which a head that draws begins slowly.
    if (arch, loss) != ("linear_metric", "energy")
    # The denoiser tower goes with any causal arch; one beside its own is enough.
    and head == HALF.get(arch, head)
    and (head != "two_tower" or arch in (*HALF, "gru"))
]
# One arch of each family, and every head and loss with one of them; the pairs that are left are the slow ones.
FAMILIES = ("gru", "linear_metric", "mamba2", "transformer")
EACH_ONCE = [(a, lo, h) for a, lo, h in TRIPLES if (lo == "infonce" and a in FAMILIES) or a == "gru" or a in HALF]
EVERY_ARCH = [a if a in FAMILIES else pytest.param(a, marks=pytest.mark.slow) for a in ARCHS]
MATRIX = [*EACH_ONCE, *(pytest.param(*t, marks=pytest.mark.slow) for t in TRIPLES if t not in EACH_ONCE)]
SMALL = {"width": 32, "hidden": 64, "layers": 2, "attention_every": 2}
CODEBOOKS = {"levels": 2, "codes": 16}
TINY = [
    "data.dim=64",
    "data.documents=40",
    "data.ood_documents=20",
    "data.planes=8",
    "data.topic_dims=8",
    "trainer.batch_size=64",
    "trainer.max_epochs=3",
    "five_cat=smoke",
    "logger=none",
    "device=cpu",
]


def config(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("train", overrides=[*TINY, *overrides]), resolve=True)  # type: ignore[return-value]


def batch_and_stats(negatives: int, windows: int = 64, dim: int = 64) -> tuple[Batch, Stats]:
    """A batch in which the target is a fixed rotation of the last two vectors: learnable, and no copy."""
    generator = torch.Generator().manual_seed(0)
    context_BLD = torch.nn.functional.normalize(torch.randn(windows, 5, dim, generator=generator), dim=-1)
    target_BD = torch.nn.functional.normalize(context_BLD[:, -1].roll(1, -1) + context_BLD[:, -2].roll(3, -1), dim=-1)
    others_BMD = torch.randn(windows, negatives, dim, generator=generator) if negatives else None
    mask_BM = torch.ones(windows, negatives, dtype=torch.bool) if negatives else None
    stats = Stats(target_BD.mean(0), target_BD.std(0))
    # A codebook of the targets themselves, and one for what it leaves.
    codes_QKD = torch.stack([target_BD[:16], 0.3 * torch.randn(16, dim, generator=generator)])
    stats = replace(stats, codes_QKD=codes_QKD)
    return Batch(context_BLD, target_BD, torch.arange(windows), others_BMD, mask_BM), stats


def shrunk(group: str, option: str, sizes: dict[str, int]) -> list[str]:
    """Those of the sizes that an option has, as overrides."""
    known = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    return [f"{group}.{key}={size}" for key, size in sizes.items() if key in known]


def model_for(chosen: Settings, stats: Stats) -> Any:
    return module(chosen, stats, {})


def overrides_for(arch: str) -> list[str]:
    """What composes an arch into a whole model, with the default loss where that goes with it."""
    return [f"arch={arch}", *(["head=two_tower", "loss=diffusion", "head.hidden=32"] if arch in HALF else [])]


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "loss", "head"), MATRIX)
def test_gradient_reaches_every_parameter_and_30_steps_lower_the_loss_by_a_third(
    arch: str, loss: str, head: str
) -> None:
    small = ("data.dim=32", *shrunk("arch", arch, SMALL), *shrunk("head", head, SMALL | CODEBOOKS))
    chosen = settings(config(f"arch={arch}", f"loss={loss}", f"head={head}", *small))
    batch, stats = batch_and_stats(chosen.config["loss"]["negatives"], windows=32, dim=32)
    model = model_for(chosen, stats)
    torch.manual_seed(0)
    # Heads whose last layer begins at zero.
    begins_at_zero = not model.model.head.feeds.isdisjoint({"denoised", "codes"})
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3 if begins_at_zero else 2e-3)
    losses = []
    # Gates that begin at zero hold the gradient back for a step or two.
    reached = set()
    for step in range(31):
        prediction, supervised = model.supervised(batch)
        total, _ = model.loss(prediction, supervised, model.stats)
        optimizer.zero_grad()
        total.backward()
        reached |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        if step == (3 if begins_at_zero else 0):
            assert reached == {name for name, _ in model.named_parameters()}
        optimizer.step()
        losses.append(float(total.detach()))
    # The error of one step hangs on the noise levels that it drew.
    assert sum(losses[-3:]) / 3 < losses[0] * 2 / 3


# Denoised vectors are of a noise of their own at every position: tests/test_heads.py.
@pytest.mark.parametrize("arch", [arch for arch in ARCHS if arch not in HALF and arch != "linformer"])
def test_every_position_is_supervised_by_the_vector_that_follows_it(arch: str) -> None:
    chosen = settings(config(f"arch={arch}", "trainer.supervision=all"))
    batch, stats = batch_and_stats(0)
    model = model_for(chosen, stats).eval()
    prediction, supervised = model.supervised(batch)
    windows, length, _ = batch.context_BLD.shape
    for b, t in ((0, 0), (3, 2), (windows - 1, length - 1)):
        follows = batch.context_BLD[b, t + 1] if t + 1 < length else batch.target_ND[b]
        torch.testing.assert_close(supervised.target_ND[b * length + t], follows)
        alone = model.predict(batch.context_BLD[b : b + 1, : t + 1]).raw_ND[0]
        torch.testing.assert_close(prediction.raw_ND[b * length + t], alone, atol=1e-5, rtol=1e-4)


def history_of(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    chosen = settings(config(f"run.dir={folder}", f"run.cache={folder.parent / 'cache'}", *overrides))
    data, model, content, _ = prepare(chosen)
    claimed = runs.claim(chosen.config, content, directory=str(folder), root=folder.parent, force=False)
    with claimed as run, session.Session(chosen, data, run, Console(quiet=True)) as at:
        at.fit(model)
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "windows_per_second")} for row in run.read_history()
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair",
    [(), ("head=energy", "loss=energy"), ("head=diffusion", "loss=diffusion")],
    ids=["dual", "energy", "diffusion"],
)
def test_equal_seeds_give_identical_histories_and_other_seeds_others(pair: tuple[str, ...], tmp_path: Path) -> None:
    small = ("arch=gru", "arch.width=32", "arch.dropout=0.1", "head.hidden=32", *pair)
    one, two = (history_of(tmp_path / name, *small) for name in ("one", "two"))
    other = history_of(tmp_path / "other", *small, "seed=1")
    assert one == two
    assert len(one) == 3
    assert [row["train/loss"] for row in one] != [row["train/loss"] for row in other]


@pytest.mark.slow
def test_a_run_begun_when_other_parameters_decayed_goes_on_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("arch=s4", "arch.width=16", "arch.layers=1", "head.hidden=16", "trainer.optim.weight_decay=9")
    with monkeypatch.context() as before:
        before.setattr(weight_decay, "maps", weight_decay.by_dimension)
        unbroken = history_of(tmp_path / "unbroken", *command)
        before.setattr(LatentVectorModule, "on_train_epoch_end", _stop_after_the_first_epoch)
        with pytest.raises(KeyboardInterrupt):
            history_of(tmp_path / "killed", *command)
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    # Version 0.1.0 wrote no names.
    for group in checkpoint["optimizer_states"][0]["param_groups"]:
        del group["names"]
    torch.save(checkpoint, last)
    assert history_of(tmp_path / "killed", *command) == unbroken
    assert history_of(tmp_path / "anew", *command) != unbroken


def _stop_after_the_first_epoch(self: LatentVectorModule) -> None:
    if self.current_epoch == 1:
        raise KeyboardInterrupt


@pytest.mark.parametrize("arch", EVERY_ARCH)
def test_the_trainer_follows_its_golden_curve(arch: str, tmp_path: Path) -> None:
    """A refactoring shows identical losses before and after: delete the file to record a wanted change anew."""
    small = shrunk("arch", arch, {"width": 32, "layers": 1, "attention_every": 1})
    rows = history_of(tmp_path / "run", *overrides_for(arch), *small)
    curve = {key: [row[key] for row in rows] for key in ("train/loss", "val/loss", "val/cos", "lr")}
    file = GOLDEN / f"{arch}.yaml"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(curve))
        pytest.fail(f"{file} was not there and has been recorded; look at it and commit it")
    golden = yaml.safe_load(file.read_text())
    assert golden.keys() == curve.keys()
    for key, values in golden.items():
        # Other processors sum in another order; a changed batch, weight or schedule moves far more.
        assert curve[key] == pytest.approx(values, rel=2e-3), key
