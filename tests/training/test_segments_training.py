"""Training on documents: every causal arch computes what its prefixes alone would, and padding changes nothing.

Shape suffixes: B segments, L context length, D vector dim, N supervised places, S draws or noise levels.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from torch import Tensor, nn

from lvm_lab.build.training import module as module_for
from lvm_lab.build.training import prepare
from lvm_lab.commands import launch as cli
from lvm_lab.config.settings import OptimSettings, Settings, settings
from lvm_lab.data.batches import SegmentBatches
from lvm_lab.data.segments import Cuts, SegmentDraw
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError
from lvm_lab.heads.diffusion import DiffusionHead
from lvm_lab.heads.dual import DualHead
from lvm_lab.heads.energy import EnergyHead
from lvm_lab.heads.two_tower import TwoTowerHead
from lvm_lab.jobs import session
from lvm_lab.losses.cosine import Cosine
from lvm_lab.losses.diffusion import Diffusion
from lvm_lab.losses.energy import Energy
from lvm_lab.losses.infonce import InfoNCE
from lvm_lab.losses.moment import Moment
from lvm_lab.losses.mse import MSE
from lvm_lab.losses.variance import Variance
from lvm_lab.model import LatentVectorModel
from lvm_lab.runs import folder as runs
from lvm_lab.training import length_groups
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Batch, Prediction, Reading, Stats

CONF = cli.conf_dir()
DIM, CONTEXT, SHORTEST = 16, 8, 1
SMALL = {"width": 16, "heads": 2, "head_dim": 8, "state": 4, "chunk": 4, "layers": 1, "attention_every": 1}
ARCHS = sorted(file.stem for file in (CONF / "arch").glob("*.yaml") if file.stem not in ("ensemble", "linformer"))
TERMS = {"mse": MSE, "cosine": Cosine, "infonce": InfoNCE, "moment": Moment, "variance": Variance}


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STATS = Stats(mean_D=0.1 * normal(DIM, seed=1), std_D=0.5 + normal(DIM, seed=2).abs())


def backbone_of(arch: str) -> Any:
    options = yaml.safe_load((CONF / "arch" / f"{arch}.yaml").read_text())
    options.pop("defaults", None)
    del options["name"]
    package, _, name = options.pop("_target_").rpartition(".")
    options |= {key: value for key, value in (SMALL | {"dropout": 0.0}).items() if key in options}
    torch.manual_seed(0)
    backbone = getattr(import_module(package), name)(dim=DIM, context_length=CONTEXT, **options)
    with torch.no_grad():
        for parameter in backbone.parameters():  # off the initial ones and zeros
            parameter += 0.02 * torch.randn(parameter.shape)
    return backbone


def module_of(arch: str, head: nn.Module | None = None, terms: dict[str, Any] = TERMS) -> LatentVectorModule:
    backbone = backbone_of(arch)
    head = head or DualHead(backbone.width, STATS, hidden=16)
    model = LatentVectorModel(backbone, head, STATS, {"config": {"data": {"context_length": CONTEXT}}})  # type: ignore[arg-type]
    loss = WeightedTerms({name: term() for name, term in terms.items()}, dict.fromkeys(terms, 1.0))
    return LatentVectorModule(model, loss, OptimSettings()).double().eval()


@pytest.fixture
def batch(make_store: Any) -> Batch:
    """Five segments of 9, 4, 3, 9 and 6 rows, three targets of which are not trained on."""
    windows = index_windows(make_store([20, 3, 15], dim=DIM), np.arange(3), CONTEXT, min_context=SHORTEST)
    kept = windows.select(~np.isin(windows.target_row_W, [2, 7, 30]))
    segments = Cuts(kept, SHORTEST).segments(np.random.default_rng(1))
    batch = SegmentBatches(negatives=6)[SegmentDraw(segments, (0, 0))]
    return replace(batch, **{k: x.double() for k, x in vars(batch).items() if x is not None and x.is_floating_point()})


def prefixes(module: LatentVectorModule, batch: Batch) -> Prediction:
    """Each supervised place's prediction from its own vectors alone."""
    assert batch.index_N is not None
    alone = []
    for index in batch.index_N.tolist():
        b, place = divmod(index, batch.context_BLD.shape[1])
        alone.append(module.predict(batch.context_BLD[b : b + 1, : place + 1]))
    return Prediction(*(torch.cat([getattr(p, name) for p in alone]) for name in ("raw_ND", "unit_ND")))


def gradients(module: LatentVectorModule, total: Tensor) -> dict[str, Tensor]:
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    of = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), of, strict=True)}


@pytest.mark.parametrize("arch", ARCHS)
def test_documents_are_the_mean_over_their_prefixes(arch: str, batch: Batch) -> None:
    module = module_of(arch)
    prediction, supervised = module.supervised(batch)
    assert len(prediction.raw_ND) == len(batch.target_ND) < batch.context_BLD[..., 0].numel()
    total, parts = module.loss(prediction, supervised, STATS)
    alone = prefixes(module, batch)
    torch.testing.assert_close(prediction.raw_ND, alone.raw_ND, rtol=1e-5, atol=1e-5)
    wanted, wanted_parts = module.loss(alone, batch, STATS)
    for name, part in parts.items():
        torch.testing.assert_close(part, wanted_parts[name], rtol=1e-5, atol=1e-5)
    # The mean over single contexts, written out, where a term is one over rows.
    for name, row in (("mse", lambda p, y: ((p.raw_ND - y) / STATS.std_D).square().mean()),):
        rows = [row(alone.select(torch.tensor([n])), batch.target_ND[n]) for n in range(len(batch.target_ND))]
        torch.testing.assert_close(parts[name], torch.stack(rows).mean(), rtol=1e-5, atol=1e-5)
    mine, theirs = gradients(module, total), gradients(module, wanted)
    assert any(gradient.any() for gradient in mine.values())
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHS)
def test_groups_of_like_length_change_nothing(arch: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(arch)
    prediction, supervised = module.supervised(batch)
    whole, _ = module.loss(prediction, supervised, STATS)
    of_whole = gradients(module, whole)
    monkeypatch.setattr(length_groups, "PLACES", 8)
    read = Mock(wraps=module.model.backbone.forward)
    monkeypatch.setattr(module.model.backbone, "forward", read)
    prediction, supervised = module.supervised(batch)
    assert sorted(call.args[0].shape[1] for call in read.call_args_list) == [2, 5, 8, 8]
    total, _ = module.loss(prediction, supervised, STATS)
    torch.testing.assert_close(total, whole, rtol=1e-9, atol=1e-9)
    for name, gradient in gradients(module, total).items():
        torch.testing.assert_close(gradient, of_whole[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("length", [1, 3, CONTEXT])
@pytest.mark.parametrize("arch", ARCHS)
@torch.no_grad()
def test_padding_changes_nothing(arch: str, length: int) -> None:
    module = module_of(arch).float()
    context_BLD = normal(2, CONTEXT + 2, DIM, seed=3)
    context_BLD[1] *= 40
    alone = module.predict(context_BLD[:1, :length])
    for padding in (0.0, 100.0):
        padded_BLD = context_BLD.clone()
        padded_BLD[0, length:] = padding
        batch = Batch(
            padded_BLD, normal(1, DIM, seed=4), torch.zeros(1, dtype=torch.long), index_N=torch.tensor([length - 1])
        )
        prediction, _ = module.supervised(batch)
        torch.testing.assert_close(prediction.raw_ND, alone.raw_ND, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", [path.stem for path in (CONF / "arch").glob("*.yaml")])
def test_every_arch_says_how_it_counts_places(arch: str) -> None:
    options = yaml.safe_load((CONF / "arch" / f"{arch}.yaml").read_text())
    package, _, name = options["_target_"].rpartition(".")
    cls = getattr(import_module(package), name)
    assert "Short contexts: " in (cls.__doc__ or ""), f"{arch} does not say how it counts places in a short context"


HEADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "energy": (EnergyHead, {"energy": Energy}),
    "diffusion": (DiffusionHead, {"diffusion": Diffusion}),
    "two_tower": (TwoTowerHead, {"diffusion": Diffusion}),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_draw_learn_from_prefixes(name: str, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is the same for every row; what is left is a function of each place's own context."""

    def same_for_every_row(*shape: int, like: Tensor, training: bool) -> Tensor:
        rows = normal(shape[0], 1, *shape[2:], seed=5).to(like)
        return rows.expand(shape).clone()

    def some_levels(*shape: int, like: Tensor, training: bool) -> Tensor:
        return torch.linspace(0.2, 0.8, shape[0]).to(like)[:, None].expand(shape).clone()

    cls, terms = HEADS[name]
    module = module_of("transformer", cls(SMALL["width"], STATS, hidden=16, layers=1), terms)
    package = "lvm_lab.heads.energy" if name == "energy" else "lvm_lab.nn.denoising"
    monkeypatch.setattr(f"{package}.normal", same_for_every_row)
    if name != "energy":
        monkeypatch.setattr(f"{package}.uniform", some_levels)
    with torch.no_grad():
        for parameter in module.parameters():  # gates begin at zero
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(6))
    prediction, supervised = module.supervised(batch)
    total, _ = module.loss(prediction, supervised, STATS)
    assert batch.index_N is not None
    alone = []
    for n, index in enumerate(batch.index_N.tolist()):
        b, place = divmod(index, batch.context_BLD.shape[1])
        reading = module.model.read(batch.context_BLD[b : b + 1, : place + 1])
        alone.append(module.model.head.learn(reading.hidden_NH, batch.target_ND[n : n + 1], reading))
    together = {
        field: torch.cat([getattr(p, field) for p in alone], dim=0 if field in ("raw_ND", "unit_ND") else 1)
        for field, x in vars(prediction).items()
        if x is not None and field != "origin"
    }
    wanted, _ = module.loss(Prediction(**together), batch, STATS)
    torch.testing.assert_close(total, wanted, rtol=1e-5, atol=1e-5)
    mine, theirs = gradients(module, total), gradients(module, wanted)
    assert any(gradient.any() for gradient in mine.values())
    for parameter, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[parameter], rtol=1e-5, atol=1e-5)


def test_a_selection_keeps_the_output_that_gradients_are_compared_at(batch: Batch) -> None:
    module = module_of("gru")
    prediction, supervised = module.supervised(batch)
    _, parts = module.loss(prediction, supervised, STATS)
    shares = module.loss.gradient_shares(prediction, parts)
    # InfoNCE and cosine read `unit`, which does not come from the selected `raw`.
    assert all(share > 0 for share in shares.values()), shares
    again = prediction.float()
    assert again.output is prediction.output
    assert len(again.output) == batch.context_BLD[..., 0].numel()


def test_validation_predicts_every_supervised_place(batch: Batch) -> None:
    """Heads whose loss is not of the prediction are asked for it, place by place, too."""
    torch.manual_seed(0)
    module = module_of("transformer", DiffusionHead(16, STATS, hidden=16, layers=1, steps=2), {"diffusion": Diffusion})
    predicted = module._predicted(batch)
    torch.testing.assert_close(predicted.raw_ND, prefixes(module, batch).raw_ND, rtol=1e-5, atol=1e-5)
    module.validation_step(batch, 0)
    assert module._count == len(batch.target_ND)


def test_selected_rows_of_every_field() -> None:
    full = Prediction(
        normal(6, 3, seed=1),
        normal(6, 3, seed=2),
        draws_SND=normal(4, 6, 3, seed=3),
        denoised_SND=normal(2, 6, 3, seed=4),
        noise_weight_SN=normal(2, 6, seed=5),
    )
    index_N = torch.tensor([4, 1])
    some = full.select(index_N)
    assert torch.equal(some.raw_ND, full.raw_ND[[4, 1]])
    assert torch.equal(some.unit_ND, full.unit_ND[[4, 1]])
    for name in ("draws_SND", "denoised_SND"):
        assert torch.equal(getattr(some, name), getattr(full, name)[:, [4, 1]])
    assert some.noise_weight_SN is not None
    assert full.noise_weight_SN is not None
    assert torch.equal(some.noise_weight_SN, full.noise_weight_SN[:, [4, 1]])
    assert some.output is full.denoised_SND


def test_a_reading_of_padded_segments_looks_back_on_what_was_read() -> None:
    context_BLD = normal(2, 6, DIM, seed=7)
    context_BLD[0, 3:] = 1e4
    reading = Reading(context_BLD, context_BLD, every=True)
    torch.testing.assert_close(reading.mean_ND[2], context_BLD[0, :3].mean(0))
    torch.testing.assert_close(reading.last_ND[2], context_BLD[0, 2])


TINY = [
    *("data.dim=32", "data.documents=40", "data.ood_documents=10", "data.planes=4", "data.topic_dims=4"),
    *("data.windows=documents", "data.context_length=9", "data.min_context=3", "trainer.batch_size=24"),
    *("arch=gru", "arch.width=16", "arch.layers=1", "arch.dropout=0.1", "head.hidden=16", "trainer.max_epochs=3"),
    *("five_cat=off", "logger=none", "device=cpu"),
]


def settings_of(*overrides: str) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return settings(OmegaConf.to_container(compose("train", overrides=[*TINY, *overrides]), resolve=True))  # type: ignore[arg-type]


def history_of(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    chosen = settings_of(f"run.dir={folder}", f"run.cache={folder.parent / 'cache'}", *overrides)
    data, module, content, _ = prepare(chosen)
    claimed = runs.claim(chosen.config, content, directory=str(folder), root=folder.parent, force=False)
    with claimed as run, session.Session(chosen, data, run, Console(quiet=True)) as at:
        at.fit(module)
        return run.read_history()


def numbers(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "windows_per_second")} for row in history]


def test_a_run_on_documents_goes_on_as_it_would_have_unbroken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = history_of(tmp_path / "unbroken")
    # A segment of this world's documents of 24 has seven targets at most, and six in the mean.
    targets = [row["seconds"] * row["windows_per_second"] for row in unbroken]
    assert all(count == pytest.approx(round(count)) for count in targets)
    # Cut anew in each epoch.
    assert len({round(count) for count in targets}) > 1
    assert all(3 * row["step"] / (row["epoch"] + 1) * 24 < count for row, count in zip(unbroken, targets, strict=True))
    assert unbroken[-1]["train/loss"] < unbroken[0]["train/loss"]
    with monkeypatch.context() as before:
        before.setattr(LatentVectorModule, "on_train_epoch_end", _stop_after_the_first_epoch)
        with pytest.raises(KeyboardInterrupt):
            history_of(tmp_path / "killed")
    assert numbers(history_of(tmp_path / "killed")) == numbers(unbroken)
    assert numbers(history_of(tmp_path / "other", "seed=1")) != numbers(unbroken)


def _stop_after_the_first_epoch(self: LatentVectorModule) -> None:
    if self.current_epoch == 1:
        raise KeyboardInterrupt


def test_archs_that_read_a_context_as_a_whole_are_refused() -> None:
    stats = Stats(torch.zeros(32), torch.ones(32))
    options = [option for option in TINY if not option.startswith("arch")]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = OmegaConf.to_container(compose("train", overrides=[*options, "arch=linformer"]), resolve=True)
    with pytest.raises(UserError, match=r"^arch=linformer reads a context as a whole.*set data\.windows=sliding\.$"):
        module_for(settings(composed), stats, {})  # type: ignore[arg-type]
    assert not import_module("lvm_lab.archs.ensemble").Ensemble.causal


@pytest.mark.slow
def test_windows_of_several_lengths_are_trained_on_as_documents_alone() -> None:
    stats = Stats(torch.zeros(32), torch.ones(32))
    with pytest.raises(UserError, match=r"windows of one length.*data\.windows=documents with a causal arch\.$"):
        module_for(settings_of("data.windows=sliding"), stats, {})
    with pytest.raises(UserError, match=r"leave trainer\.supervision=last\.$"):
        settings_of("trainer.supervision=all")
