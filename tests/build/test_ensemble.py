"""Ensembles: one equals its member, several are the mean of their units, and wrong members are told before training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import lvm_lab
from helpers.commands import Outcome, call, only_run
from helpers.run_files import write_ranked
from lvm_lab import evaluate
from lvm_lab.archs.ensemble import Ensemble
from lvm_lab.build import members
from lvm_lab.commands.composing import compose
from lvm_lab.config.settings import OptimSettings, Settings, settings
from lvm_lab.errors import UserError
from lvm_lab.jobs import session
from lvm_lab.model import LatentVectorModel
from lvm_lab.training.fitting import fit
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Prediction, count_parameters

WORLD = ("data.dim=64", "data.documents=60", "data.ood_documents=20", "data.planes=8", "data.topic_dims=8")
RUN = (*WORLD, "trainer.batch_size=32", "trainer.max_epochs=1", "5cat=smoke", "5cat.required=0", "logger=none")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained members, gru and lstm, in folders of these names."""
    folder = tmp_path_factory.mktemp("ensemble")
    for arch in ("gru", "lstm"):
        done = train(folder, f"arch={arch}", "arch.width=16", f"run.root={arch}")
        assert done.code == 0, done.err
    return folder


def train(home: Path, *arguments: str) -> Outcome:
    return call(home, *RUN, "device=cpu", f"run.cache={home / 'cache'}", *arguments)


def member(home: Path, arch: str) -> Path:
    return only_run(home / arch)


def model(home: Path, name: str, *members: Path, more: tuple[str, ...] = ()) -> LatentVectorModel:
    listed = ",".join(map(str, members))
    done = train(home, "arch=ensemble", f"arch.members=[{listed}]", f"run.dir={name}", *more)
    assert done.code == 0, done.err
    return lvm_lab.load(home / name / "checkpoints" / "best.ckpt")


def contexts() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return F.normalize(torch.randn(7, 5, 64, generator=generator), dim=-1)


def loaded(home: Path, arch: str) -> LatentVectorModel:
    return lvm_lab.load(member(home, arch) / "checkpoints" / "best_5cat.ckpt")


def test_an_ensemble_of_one_equals_its_member(home: Path) -> None:
    alone = loaded(home, "gru").predict(contexts())
    one = model(home, "one", member(home, "gru")).predict(contexts())
    torch.testing.assert_close(one.raw_ND, alone.raw_ND, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one.unit_ND, alone.unit_ND, atol=1e-6, rtol=1e-5)


def test_the_mean_is_of_units_also_without_anything_to_learn(home: Path) -> None:
    both = [loaded(home, arch).predict(contexts()) for arch in ("gru", "lstm")]
    mixed = model(home, "two", member(home, "gru"), member(home, "lstm"), more=("loss=mse",)).predict(contexts())
    mean = F.normalize((both[0].unit_ND + both[1].unit_ND) / 2, dim=-1)
    torch.testing.assert_close(mixed.unit_ND, mean, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mixed.raw_ND, (both[0].raw_ND + both[1].raw_ND) / 2, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("mix", ["weighted", "gate"])
def test_a_mix_is_learned_and_the_members_are_not(home: Path, mix: str) -> None:
    folders = (member(home, "gru"), member(home, "lstm"))
    learned = model(home, mix, *folders, more=(f"arch.mix={mix}", "loss=cosine"))
    backbone = learned.backbone
    parameter = backbone.weights if mix == "weighted" else backbone.gate.score.weight
    assert parameter.abs().sum() > 0
    for part, arch in zip(backbone.members, ("gru", "lstm"), strict=True):
        assert torch.equal(part.predict(contexts()).raw_ND, loaded(home, arch).predict(contexts()).raw_ND)


@pytest.mark.parametrize("mix", ["weighted", "gate"])
def test_a_mix_is_learned_on_half_of_val_which_then_has_no_gates(home: Path, mix: str, monkeypatch) -> None:
    fitted = []
    monkeypatch.setattr(session, "fit", lambda module, data, *more: fitted.append(data) or fit(module, data, *more))
    model(home, f"halves-{mix}", member(home, "gru"), member(home, "lstm"), more=(f"arch.mix={mix}", "loss=cosine"))
    (data,) = fitted
    learn, choose = (set(part.document_W.tolist()) for part in (data.train, data.val))
    assert not learn & choose
    assert abs(len(learn) - len(choose)) <= 1
    result = json.loads((home / f"halves-{mix}" / "result.json").read_text())
    assert result["parts"]["val"]["documents"] == len(learn | choose)
    assert result["parts"]["train"]["documents"] > len(learn)
    assert result["val"] == {}
    verdict, gates = result["five_cat"], result["five_cat"]["gates"]
    assert set(gates) == set("ABCDE")
    # What OOD fails is failed; nothing is passed, and VAL is null for the reason that is told.
    assert {gate["state"] for gate in gates.values()} <= {None, False}
    assert all("learned on one half of VAL" in gate["reason"] for gate in gates.values() if gate["state"] is None)
    assert any(gate["state"] is None for gate in gates.values())
    assert verdict["passed"] == 0
    assert verdict["verdict"] == "fail" or "learned on one half of VAL" in verdict["reason"]
    assert result["test"]["five_cat"]["halves"]["A"]["numbers"]
    assert result["ood"]["five_cat"]["halves"]["A"]["numbers"]
    assert any("learned on one half of its documents" in note for note in result["notes"])
    # The half that it learned on is held against every later judgement.
    judged = call(home, f"halves-{mix}", "5cat=smoke", "cache=cache", "device=cpu", "parts=[val]", main=evaluate.main)
    assert (judged.code, "is not held out" in judged.sentence) == (2, True), judged.err


def test_the_mean_is_judged_on_val_as_before(home: Path) -> None:
    model(home, "plain", member(home, "gru"), member(home, "lstm"), more=("loss=cosine",))
    assert json.loads((home / "plain" / "result.json").read_text())["five_cat"]["gates"]


class Noisy(torch.nn.Module):
    """A member with dropout, whose answer shows whether it is in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, context_BLD: torch.Tensor) -> Prediction:
        return Prediction.from_raw(self.dropout(context_BLD[:, -1]))


def test_members_are_read_in_eval_mode_while_the_mix_trains() -> None:
    ensemble = Ensemble(64, 5, members=[Noisy(), Noisy()], mix="weighted").train()
    raw_NF = ensemble(contexts())[:, 0, : 2 * 64]
    assert torch.equal(raw_NF, contexts()[:, -1].repeat(1, 2))


def test_a_gate_begins_as_the_mean_and_then_weighs_by_the_context() -> None:
    ensemble = Ensemble(64, 5, members=[Noisy(), Noisy(), Noisy()], mix="gate")
    assert torch.allclose(ensemble(contexts())[:, 0, -3:], torch.full((7, 3), 1 / 3))
    torch.nn.init.normal_(ensemble.gate.score.weight)
    weight_NE = ensemble(contexts())[:, 0, -3:]
    assert torch.allclose(weight_NE.sum(-1), torch.ones(7))
    assert weight_NE.std(0).min() > 1e-3
    # The last vector and those before it both count.
    for place in (0, -1):
        other = contexts()
        other[:, place] = -other[:, place]
        assert not torch.allclose(ensemble(other)[:, 0, -3:], weight_NE, atol=1e-4)


def test_the_losses_of_members_are_counted_and_not_loaded(home: Path) -> None:
    parts = [member(home, arch) for arch in ("gru", "lstm")]
    ensemble = model(home, "counted", *parts, more=("loss=mse",))
    numbers = [json.loads((folder / "result.json").read_text())["params"] for folder in (*parts, home / "counted")]
    # Each learned a temperature beside its weights.
    assert [part.loss_parameters for part in ensemble.backbone.members] == [1, 1]
    assert numbers[2] == sum(numbers[:2]) == count_parameters(ensemble)
    saved = torch.load(home / "counted" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    module = LatentVectorModule(ensemble, WeightedTerms({}, {}), OptimSettings())
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["state_dict"].keys() == saved.keys()
    module.load_state_dict(saved)
    # As version 0.1.0 wrote it.
    module.load_state_dict(saved | {"backbone.members.0.loss.terms.infonce.log_temperature": torch.zeros(())})
    with pytest.raises(RuntimeError, match="nothing_known"):
        module.load_state_dict(saved | {"backbone.nothing_known": torch.zeros(())})


def test_a_checkpoint_needs_its_members_folders_no_more(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "gru"
    shutil.copytree(member(home, "gru"), moved)
    before = model(home, "kept", moved).predict(contexts()).raw_ND
    shutil.rmtree(moved)
    after = lvm_lab.load(home / "kept" / "checkpoints" / "best.ckpt").predict(contexts()).raw_ND
    assert torch.equal(after, before)


@pytest.mark.slow
def test_top3_takes_the_best_of_three_architectures(home: Path) -> None:
    # Enough for a verdict on VAL: who has none is not among the best.
    many = ("data.documents=220", "run.root=all")
    for arch in ("gru", "lstm"):
        assert train(home, f"arch={arch}", "arch.width=16", *many, "seed=4").code == 0
    few = train(home, "arch=ensemble", "arch.members=top3", *many)
    assert few.code == 2
    assert "needs finished runs of 3 architectures" in few.sentence
    assert train(home, "arch=ridge", "arch.width=16", *many).code == 0
    done = train(home, "arch=ensemble", "arch.members=top3", *many, "run.dir=best")
    assert done.code == 0, done.err
    best = lvm_lab.load(home / "best" / "checkpoints" / "best.ckpt")
    names = [said["config"]["arch"]["name"] for said in best.identity["config"]["arch"]["members"]]
    assert sorted(names) == ["gru", "lstm", "ridge"]


def test_top3_takes_runs_on_the_same_data_whatever_most_runs_are_on(tmp_path: Path) -> None:
    for arch in ("gru", "lstm", "amn", "s4"):
        write_ranked(tmp_path / f"planted-{arch}", 0.5, arch=arch)
    mine = {
        "name": "npz",
        "_target_": "lvm_lab.data.sources.npz.Npz",
        "path": ["a.npz", "b.npz"],
        "train_windows": None,
    }
    for arch in ("gru", "lstm", "amn"):
        data = mine | {"path": ["b.npz", "a.npz"], "train_windows": 100}
        write_ranked(tmp_path / f"npz-{arch}", 0.2, **{"arch": arch, "data": data})

    def on(data: dict[str, Any]) -> Settings:
        config = compose("train", ["arch=ensemble", "arch.members=top3", f"run.root={tmp_path}"])
        return settings(config | {"data": data})

    resolved = members.resolve(on(mine)).config["arch"]["members"]
    assert [Path(file).parents[1].name for file in resolved] == ["npz-amn", "npz-gru", "npz-lstm"]
    with pytest.raises(UserError, match="on the same data that pass their 5CAT preset on VAL and there are 0"):
        members.resolve(on(mine | {"fold": 1}))


@pytest.mark.parametrize(
    ("members", "more", "said"),
    [
        ("[nowhere]", (), "nowhere, which is no run's folder and no checkpoint"),
        ("[]", (), "list run folders or checkpoints, or say top3"),
        ("GRU", ("data.dim=96",), "trained on other vectors (dim 96 against 64)"),
        ("GRU", ("data.context_length=4",), "context length 4 against 5"),
        ("GRU", ("head=dual",), "set head=ensemble"),
        ("GRU", ("data.fold=1",), "data.fold=1 against null"),
    ],
)
def test_wrong_members_are_told_in_a_sentence(home: Path, members: str, more: tuple[str, ...], said: str) -> None:
    listed = members.replace("GRU", f"[{member(home, 'gru')}]")
    done = train(home, "arch=ensemble", f"arch.members={listed}", "run.root=refused", *more)
    assert done.code == 2
    assert said in done.sentence
    assert not (home / "refused").exists()


def test_what_an_arch_reads_from_files_enters_the_fingerprint_by_content(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    config = {"arch": {"name": "distilgpt2", "weights": str(tmp_path)}}
    before = members.content(config)
    file.write_bytes(b"other")
    assert list(before) == ["weights_model.safetensors"]
    assert members.content(config) != before
    assert members.content({"arch": {"name": "gru"}}) == {}
