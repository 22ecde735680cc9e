"""Strategies: which windows and which loss each epoch has, what learns beside, and that nothing else changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

import lvm_lab
from lvm_lab.build.seen import TRAINED_ON
from lvm_lab.build.training import Training, prepare
from lvm_lab.commands import launch as cli
from lvm_lab.config.data import DataSettings
from lvm_lab.config.settings import settings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.source import Opened
from lvm_lab.data.store import Store
from lvm_lab.errors import Terminated, UserError
from lvm_lab.jobs import session
from lvm_lab.losses.cosine import Cosine
from lvm_lab.losses.infonce import InfoNCE
from lvm_lab.model import read_checkpoint
from lvm_lab.runs import folder as runs
from lvm_lab.runs.identity import computing, fingerprint, title
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.training.strategies.base import Stage, Stages
from lvm_lab.training.strategies.curriculum import Curriculum, similarities
from lvm_lab.training.strategies.multi_resolution import Resolution, ResolutionTerms
from lvm_lab.training.strategies.pretrained import StagedTerms
from lvm_lab.training.strategies.progressive import Progressive
from lvm_lab.types import Batch, Prediction, Stats, count_parameters

CONF = cli.conf_dir()
TINY = (
    "data.dim=16",
    "data.documents=40",
    "data.ood_documents=10",
    "data.planes=3",
    "data.topic_dims=3",
    "arch=gru",
    "arch.width=16",
    "arch.layers=1",
    "arch.dropout=0.1",
    "head.hidden=16",
    "loss=cosine",
    "trainer.batch_size=32",
    "trainer.max_epochs=4",
    "five_cat=off",
    "logger=none",
    "device=cpu",
)
# Each with stages of two epochs, so that a run can be killed inside one and between two.
STRATEGIES = {
    "progressive": ["strategy.stages=[{train_windows:70,epochs:2},{train_windows:null,epochs:2}]"],
    "curriculum": ["strategy.stages=[{name:hard,begin:0.5,end:1,epochs:2},{name:mixed,begin:0,end:1,epochs:2}]"],
    "multi_resolution": ["strategy.hidden=8"],
    "pretrained": ["strategy.epochs=2", "strategy.loss.negatives=2"],
}


def config(*overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("train", overrides=[*TINY, *overrides]), resolve=True)  # type: ignore[return-value]


def of(strategy: str) -> list[str]:
    return [f"strategy={strategy}", *STRATEGIES[strategy], "trainer.max_epochs=4"]


def prepared(cache: Path, *overrides: str) -> Training:
    return prepare(settings(config(f"run.cache={cache}", *overrides)))


def history_of(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    chosen = settings(config(f"run.cache={folder.parent / 'cache'}", *overrides))
    data, model, content, _ = prepare(chosen)
    claimed = runs.claim(chosen.config, content, directory=str(folder), root=folder.parent, force=False)
    with claimed as run, session.Session(chosen, data, run, Console(quiet=True)) as at:
        at.fit(model)
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "windows_per_second")} for row in run.read_history()
        ]


@pytest.fixture(name="parts")
def _parts(make_store: Callable[..., Store], cache: Path) -> Parts:
    store = make_store([9] * 60, dim=8)
    opened = Opened(store, {"store": store.content}, None, None)
    return cut_parts(opened, DataSettings(), cache, every_position=False)


def test_a_stage_is_a_function_of_the_epoch() -> None:
    stages = Stages((Stage("a", 2), Stage("b", 1), Stage("c", 3)))
    assert [stages.of(epoch).name for epoch in range(6)] == ["a", "a", "b", "c", "c", "c"]
    assert [epoch for epoch in range(6) if stages.begins(epoch)] == [0, 2, 3]


def test_progressive_stages_are_what_data_train_windows_takes(
    parts: Parts, make_store: Callable[..., Store], cache: Path
) -> None:
    counts = [10, 37, None, 10_000]
    strategy = Progressive([{"train_windows": count, "epochs": 1} for count in counts])
    stages = strategy.stages(parts, 4)
    for count, stage in zip(counts[:2], stages, strict=False):
        opened = Opened(parts.training.store, {}, None, None)  # type: ignore[union-attr]
        alone = cut_parts(opened, DataSettings(train_windows=count), cache, every_position=False).train
        np.testing.assert_array_equal(parts.train.select(stage.positions).target_row_W, alone.target_row_W)  # type: ignore[arg-type]
        assert stage.positions is not None
    assert set(stages[0].positions) < set(stages[1].positions)  # type: ignore[arg-type]
    assert [stage.positions for stage in stages[2:]] == [None, None]


@pytest.mark.parametrize("similarity", ["last", "mean"])
def test_a_curriculum_goes_by_the_cosine_of_target_and_context(similarity: Any, parts: Parts) -> None:
    train = parts.train
    context_WLD, target_WD = (torch.from_numpy(x) for x in (train.context(), train.vectors(train.target_row_W)))
    other_WD = context_WLD[:, -1] if similarity == "last" else context_WLD.mean(1)
    expected_W = F.cosine_similarity(other_WD, target_WD).numpy()
    np.testing.assert_allclose(similarities(train, similarity), expected_W, atol=1e-6)
    edges = [("easy", 0.0, 0.5), ("hard", 0.5, 1.0), ("mixed", 0.0, 1.0)]
    nodes = [{"name": name, "begin": begin, "end": end, "epochs": 1} for name, begin, end in edges]
    easy, hard, mixed = Curriculum(nodes, similarity).stages(parts, 3)
    assert easy.positions is not None
    assert hard.positions is not None
    assert mixed.positions is None
    assert expected_W[easy.positions].min() >= expected_W[hard.positions].max()
    assert sorted([*easy.positions, *hard.positions]) == list(range(len(train)))


def test_a_curriculum_reads_windows_of_every_length(parts: Parts) -> None:
    whole = parts.train
    short = replace(whole, context_length=40)
    assert (short.length_W < 40).all()
    for w in (0, 3, len(whole) - 1):
        rows = np.arange(short.target_row_W[w] - short.length_W[w], short.target_row_W[w])
        mean_D, target_D = short.vectors(rows).mean(0), short.vectors(short.target_row_W[w])
        cosine = mean_D @ target_D / np.linalg.norm(mean_D) / np.linalg.norm(target_D)
        assert similarities(short, "mean")[w] == pytest.approx(cosine, abs=1e-6)


def test_lower_resolutions_are_the_first_principal_components(cache: Path) -> None:
    _, built, _, _ = training = prepared(cache, *of("multi_resolution"))
    assert isinstance(built.loss, ResolutionTerms)
    train = training.data.training
    assert train is not None
    documents = train.store.documents
    spans = zip(documents.start[train.stretches], documents.length[train.stretches], strict=True)
    x_ND = torch.from_numpy(np.concatenate([train.store.vectors_ND[s : s + n] for s, n in spans]).astype(np.float64))
    power_D = torch.linalg.eigvalsh(torch.cov(x_ND.T, correction=0)).flip(0)
    low = [one for one in built.loss.resolutions if isinstance(one, Resolution)]
    assert [one.dims for one in low] == [8, 4]
    for one in low:
        basis_DK = one.basis_DK.double()
        torch.testing.assert_close(basis_DK.T @ basis_DK, torch.eye(one.dims).double(), atol=1e-5, rtol=0)
        y_NK = x_ND @ basis_DK
        torch.testing.assert_close(y_NK.var(0, correction=0).flip(0), power_D[: one.dims], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(y_NK.mean(0), one.stats.mean_D.double(), atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(y_NK.std(0, correction=0), one.stats.std_D.double(), atol=1e-3, rtol=1e-2)


def test_the_objective_of_several_resolutions_is_as_written_out() -> None:
    torch.manual_seed(0)
    basis_DK = torch.linalg.qr(torch.randn(6, 2))[0]
    head = torch.nn.Linear(5, 2)

    class Head(torch.nn.Module):
        def forward(self, hidden_NH: torch.Tensor) -> Prediction:
            return Prediction.from_raw(head(hidden_NH))

    low = Resolution(basis_DK, Head(), Stats(torch.zeros(2), torch.ones(2)))
    own = WeightedTerms({"cosine": Cosine()}, {"cosine": 2.0})
    objective = ResolutionTerms(own, [low], weight=0.5, consistency=0.25)
    hidden_NH, raw_ND, target_ND = torch.randn(7, 5), torch.randn(7, 6), torch.randn(7, 6)
    batch, stats = Batch(torch.randn(7, 3, 6), target_ND, torch.arange(7)), Stats(torch.zeros(6), torch.ones(6))
    prediction = replace(Prediction.from_raw(raw_ND), hidden_NH=hidden_NH)
    total, parts = objective(prediction, batch, stats)
    whole = 1 - F.cosine_similarity(raw_ND, target_ND).mean()
    lower = 1 - F.cosine_similarity(head(hidden_NH), target_ND @ basis_DK).mean()
    agree = 1 - F.cosine_similarity(raw_ND @ basis_DK, head(hidden_NH)).mean()
    torch.testing.assert_close(total, 2 * whole + 0.5 * 2 * lower + 0.25 * agree)
    assert list(parts) == ["cosine", "cosine_2", "consistency_2"]
    torch.testing.assert_close(objective.own(prediction, batch, stats)[0], 2 * whole)
    torch.testing.assert_close(low.project(batch).context_BLD, batch.context_BLD @ basis_DK)


def test_a_loss_that_waits_learns_nothing_and_has_a_gradient_of_zero() -> None:
    """Several devices wait for every parameter's gradient."""
    own = WeightedTerms({"infonce": InfoNCE()}, {"infonce": 1.0})
    other = WeightedTerms({"infonce": InfoNCE(temperature=0.2), "cosine": Cosine()}, {"infonce": 1.0, "cosine": 1.0})
    staged = StagedTerms(own, {"pretraining": other})
    raw_ND = torch.randn(8, 6, requires_grad=True)
    batch, stats = Batch(torch.randn(8, 3, 6), torch.randn(8, 6), torch.arange(8)), Stats(torch.zeros(6), torch.ones(6))
    for current, at_work, idle in ((None, own, other), ("pretraining", other, own)):
        staged.begin(current)
        staged.zero_grad()
        total, parts = staged(Prediction.from_raw(raw_ND), batch, stats)
        total.backward()
        expected, terms = at_work.own(Prediction.from_raw(raw_ND), batch, stats)
        torch.testing.assert_close(total, expected)
        assert parts.keys() == terms.keys()
        assert float(at_work.terms["infonce"].log_temperature.grad.abs()) > 0  # type: ignore[operator,union-attr]
        assert float(idle.terms["infonce"].log_temperature.grad) == 0  # type: ignore[arg-type]
        assert staged.active.weights == at_work.weights


# Inside a stage (before its second epoch) and between two.
KILLS = [(strategy, epoch) for strategy in STRATEGIES for epoch in (1, 2)]
ONCE = (("progressive", 2), ("pretrained", 1))


@pytest.mark.parametrize(
    ("strategy", "epoch"), [kill if kill in ONCE else pytest.param(*kill, marks=pytest.mark.slow) for kill in KILLS]
)
def test_a_run_killed_inside_a_stage_or_between_two_ends_as_unbroken(
    strategy: str, epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = history_of(tmp_path / "unbroken", *of(strategy))
    with monkeypatch.context() as killing:
        killing.setattr(LatentVectorModule, "on_train_epoch_start", _killed_at(epoch))
        with pytest.raises(KeyboardInterrupt):
            history_of(tmp_path / "killed", *of(strategy))
    assert history_of(tmp_path / "killed", *of(strategy)) == unbroken
    last = read_checkpoint(tmp_path / "unbroken" / "checkpoints" / "last.ckpt")
    plain = prepared(tmp_path / "cache")
    _check_rows(strategy, unbroken, len(plain.data.train))
    # The rate has come all the way down: the schedule knows the stages' lengths.
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(3e-3 * 0.01, rel=1e-6)
    # What is served is the plain model, and what was seen is the training part, as without a strategy.
    model = lvm_lab.load(tmp_path / "unbroken" / "checkpoints" / "last.ckpt")
    assert model.state_dict().keys() == plain.module.model.state_dict().keys()
    assert count_parameters(model) == count_parameters(plain.module.model)
    seen, expected = (one["sketches"] for one in (model.identity[TRAINED_ON], plain.module.model.identity[TRAINED_ON]))
    assert len(seen) == len(expected) == 1
    torch.testing.assert_close(seen[0]["codes_MC"], expected[0]["codes_MC"])


def _killed_at(epoch: int) -> Callable[[LatentVectorModule], None]:
    begin = LatentVectorModule.on_train_epoch_start

    def start(self: LatentVectorModule) -> None:
        if self.current_epoch == epoch:
            raise KeyboardInterrupt
        begin(self)

    return start


def _check_rows(strategy: str, rows: list[dict[str, Any]], windows: int) -> None:
    steps = np.diff([0, *(row["step"] for row in rows)]).tolist()
    whole = windows // 32
    lengths = {"progressive": [2, 2, whole, whole], "curriculum": [windows // 2 // 32] * 2 + [whole] * 2}
    assert steps == lengths.get(strategy, [whole] * 4)
    names = {
        "progressive": ["70 windows"] * 2 + [f"{windows} windows"] * 2,
        "curriculum": ["hard"] * 2 + ["mixed"] * 2,
        "pretrained": ["pretraining"] * 2 + ["own loss"] * 2,
    }
    assert [row.get("stage") for row in rows] == names.get(strategy, [None] * 4)
    # Validation measures the run's own loss in every stage.
    assert all({"val/cosine", "val/moment"} < row.keys() and "val/infonce" not in row for row in rows)
    trained = [{key.partition("/")[2] for key in row if key.startswith("train/")} for row in rows]
    own, contrastive = {"loss", "cosine", "moment"}, {"loss", "infonce", "moment", "variance"}
    low = {f"{name}_{dims}" for name in ("cosine", "moment", "consistency") for dims in (8, 4)}
    expected = {"pretrained": [contrastive] * 2 + [own] * 2, "multi_resolution": [own | low] * 4}
    assert trained == expected.get(strategy, [own] * 4)


def test_what_pretraining_learned_of_its_temperature_is_not_taken_over(tmp_path: Path) -> None:
    """With the same loss behind it, the run's own temperature is the one that it is set to when its stage begins."""
    history_of(tmp_path / "run", *of("pretrained"), "loss=infonce", "trainer.checkpoint.every_n_epochs=1")
    name = "terms.infonce.log_temperature"
    kept = [read_checkpoint(tmp_path / "run" / "checkpoints" / f"epoch=0{n}.ckpt")["state_dict"] for n in range(4)]
    own, others = [float(s[f"loss.{name}"]) for s in kept], [float(s[f"loss.others.pretraining.{name}"]) for s in kept]
    begun = float(np.log(0.07))
    assert own[:2] == pytest.approx([begun] * 2)
    assert own[3] != own[2] != begun
    assert begun != others[0] != others[1]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["strategy=progressive", "trainer.max_epochs=7"], r"have 35 epochs together .* set trainer.max_epochs=35"),
        (["strategy=curriculum", "trainer.max_epochs=20", "trainer.patience=2"], r"set trainer.patience=0"),
        (["strategy=pretrained", "trainer.max_epochs=5"], r"strategy.epochs=5 leaves none of trainer.max_epochs=5"),
        (["strategy=pretrained", "head=diffusion", "loss=diffusion", "trainer.max_epochs=9"], r"set head=dual"),
        (["strategy=multi_resolution", "head=energy", "loss=energy"], r"set loss=infonce head=dual"),
        (["strategy=multi_resolution", "strategy.fractions=[1.5]"], r"shares of the dims above 0 and below 1"),
        (["strategy=multi_resolution", "strategy.weigth=1"], r"strategy.weigth does not exist"),
        (["strategy=progressive", "strategy.stages=[{windows:3,epochs:2}]"], r"strategy.stages\[0\].windows does not"),
        (["strategy=progressive", "strategy.stages=[{train_windows:3}]"], r"strategy.stages\[0\].epochs is missing"),
        (["strategy=progressive", "strategy.stages=[{train_windows:9,epochs:4}]"], r"cannot fill one batch of 32"),
    ],
)
def test_what_does_not_go_together_is_told(overrides: list[str], sentence: str, tmp_path: Path) -> None:
    words = [word.replace("strategy.weigth", "+strategy.weigth") for word in overrides]
    with pytest.raises(UserError, match=sentence):
        history_of(tmp_path / "run", *words)


def test_no_strategy_enters_nothing_and_one_makes_another_run() -> None:
    plain = config()
    older = {key: value for key, value in plain.items() if key != "strategy"}
    assert plain["strategy"] == {"name": "none"}
    assert fingerprint(plain, {}) == fingerprint(older, {})
    assert "strategy" not in computing(plain)
    assert title(plain) == title(older) == "gru-cosine-planted"
    settings(older)
    staged = config(*of("curriculum"))
    assert fingerprint(staged, {}) != fingerprint(plain, {})
    assert title(staged) == "gru-cosine-planted-curriculum"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_trains_on_whole_documents(strategy: str, tmp_path: Path) -> None:
    """A stage's windows are then the places that are supervised."""
    documents = ["data.windows=documents", "data.context_length=12", "data.min_context=3", "trainer.batch_size=8"]
    loss = ["loss=infonce"] if strategy == "multi_resolution" else []
    rows = history_of(tmp_path / "run", *of(strategy), *documents, *loss)
    assert len(rows) == 4
    assert all(np.isfinite(row["train/loss"]) for row in rows)
    steps = np.diff([0, *(row["step"] for row in rows)])
    if strategy in ("progressive", "curriculum"):
        assert steps[0] == steps[1] <= steps[2] == steps[3]


@pytest.mark.parametrize(
    "strategy", ["pretrained", *(pytest.param(s, marks=pytest.mark.slow) for s in STRATEGIES if s != "pretrained")]
)
def test_a_run_terminated_inside_an_epoch_ends_as_unbroken(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = history_of(tmp_path / "unbroken", *of(strategy))
    step = LatentVectorModule.training_step

    def stepping(self: LatentVectorModule, batch: Batch, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (1, 0):
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as terminating:
        terminating.setattr(LatentVectorModule, "training_step", stepping)
        with pytest.raises(Terminated):
            history_of(tmp_path / "terminated", *of(strategy))
    assert history_of(tmp_path / "terminated", *of(strategy)) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["multi_resolution", "pretrained"])
def test_a_batch_in_pieces_and_an_average_of_the_weights(strategy: str, tmp_path: Path) -> None:
    rows = history_of(tmp_path / "run", *of(strategy), "trainer.accumulate=2", "trainer.ema=0.9", "arch.dropout=0")
    whole = history_of(tmp_path / "whole", *of(strategy), "trainer.ema=0.9", "arch.dropout=0")
    assert [row["train/loss"] for row in rows] == pytest.approx([row["train/loss"] for row in whole], rel=1e-4)
