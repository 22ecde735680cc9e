"""A training may begin with weights that are there already, or train a finished run longer; what it reads stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lvm_lab
from helpers.commands import Outcome, call, finish, fork, rows, timeless, wait_until
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.model import KEY

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
WORLD = ("data.dim=32", "data.documents=60", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
MODEL = ("arch=gru", "arch.width=16", "trainer.batch_size=64", "device=cpu", "device.threads=1", "logger=none")
SMALL = (*WORLD, *MODEL, "5cat=smoke", "trainer.max_epochs=1")
# A step of this size moves no float32 weight.
STILL = ("trainer.optim.lr=1e-30", "trainer.optim.weight_decay=0")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two epochs, `parent`."""
    folder = tmp_path_factory.mktemp("home")
    done = call(folder, *SMALL, "trainer.max_epochs=2", "run.dir=parent", "run.cache=cache")
    assert done.code == 0, done.err
    return folder


def train(home: Path, name: str, *arguments: str) -> Outcome:
    return call(home, *SMALL, "run.cache=cache", f"run.dir={name}", *arguments)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256(file) for file in folder.rglob("*") if file.is_file()}


def identity(folder: Path) -> dict[str, Any]:
    recorded: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())["identity"]
    return recorded


def notes(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "result.json").read_text())["notes"]
    return found


def test_a_checkpoint_says_which_run_and_which_data_it_is_of(home: Path) -> None:
    recorded = identity(home / "parent")
    for name in ("best.ckpt", "last.ckpt"):
        own = torch.load(home / "parent" / "checkpoints" / name, weights_only=True)[KEY]
        assert {key: own[key] for key in ("fingerprint", "content")} == {
            key: recorded[key] for key in ("fingerprint", "content")
        }
        assert own["ancestors"] == []


def test_runs_that_differ_by_their_data_alone_are_told_apart(home: Path, tmp_path: Path) -> None:
    """Equal settings on a file that has changed: an older checkpoint, which says nothing of its data, is taken."""
    shutil.copytree(home / "parent", tmp_path / "other")
    file = tmp_path / "other" / "checkpoints" / "best.ckpt"
    lvm_lab.load(file)
    config = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())
    config["identity"] |= {"content": {"planted": "0" * 64}, "fingerprint": "0" * 64}
    (tmp_path / "other" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"is of another run .* than its folder .*-00000000"):
        lvm_lab.load(file)
    checkpoint = torch.load(file, weights_only=True)
    for key in ("fingerprint", "content", "ancestors"):
        del checkpoint[KEY][key]
    torch.save(checkpoint, file)
    lvm_lab.load(file)


def test_a_training_starts_at_the_loss_of_the_weights_that_it_is_given(home: Path) -> None:
    before = content(home / "parent")
    file = home / "parent" / "checkpoints" / "best.ckpt"
    done = train(home, "started", "trainer.init_from=parent/checkpoints/best.ckpt", *STILL)
    assert done.code == 0, done.err
    assert content(home / "parent") == before
    (row,) = rows(home / "started")
    best = min(rows(home / "parent"), key=lambda row: row["val/loss"])
    for key in ("val/loss", "val/infonce", "val/cos"):
        assert row[key] == pytest.approx(best[key], rel=1e-6), key
    model = lvm_lab.load(home / "started")
    context_BLD = torch.nn.functional.normalize(torch.randn(3, 5, 32), dim=-1)
    torch.testing.assert_close(model.predict(context_BLD).raw_ND, lvm_lab.load(file).predict(context_BLD).raw_ND)
    (ancestor,) = model.identity["ancestors"]
    parent = identity(home / "parent")
    assert ancestor["setting"] == "init_from"
    assert (ancestor["fingerprint"], ancestor["content"]) == (parent["fingerprint"], parent["content"])
    assert identity(home / "started")["content"] == parent["content"] | {"init_from": ancestor["weights"]}
    assert any(
        note.startswith("began with the weights of parent/checkpoints/best.ckpt") for note in notes(home / "started")
    )


def test_the_weights_count_and_not_their_path(home: Path) -> None:
    """The same command with a copy of the checkpoint is the same run, and with other weights another."""
    train(home, "by-path", "trainer.init_from=parent/checkpoints/best.ckpt")
    shutil.copy(home / "parent" / "checkpoints" / "best.ckpt", home / "copy.ckpt")
    again = train(home, "by-path", "trainer.init_from=copy.ckpt")
    assert (again.code, "finished already" in again.out) == (0, True), again
    refused = train(home, "by-path")
    assert (refused.code, "holds a run of another config" in refused.sentence) == (2, True)


def test_other_data_and_another_loss_may_follow(home: Path) -> None:
    """The model keeps the statistics that its weights were learned with, and the loss measures by the new data's."""
    done = train(home, "other", "trainer.init_from=parent", "data.seed=5", "loss=hybrid")
    assert done.code == 0, done.err
    parent, model = lvm_lab.load(home / "parent"), lvm_lab.load(home / "other")
    torch.testing.assert_close(model.mean_D, parent.mean_D)
    (ancestor,) = model.identity["ancestors"]
    assert ancestor["content"] == identity(home / "parent")["content"] != model.identity["content"]
    third = train(home, "third", "trainer.init_from=other", "data.seed=6")
    assert third.code == 0, third.err
    listed = lvm_lab.load(home / "third").identity["ancestors"]
    assert [a["fingerprint"] for a in listed] == [identity(home / name)["fingerprint"] for name in ("parent", "other")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("arch.width=24",), "arch.width is 16 there and 24 here"),
        (("arch=lstm",), "arch._target_ is lvm_lab.archs.gru.GRU there and"),
        (("head.hidden=8",), "head.hidden is 512 there and 8 here"),
        (("data.dim=48",), "the vectors' dim is 32 there and 48 here"),
        (("normaliser=standard",), "normaliser is none there and standard here"),
        (("data.fold=1",), "trained on what is val or test here (data.fold is None there and 1 here)"),
        (("trainer.continue_from=parent",), "are both given; set one of them"),
        (("run.dir=parent", "run.force=true"), "run.dir=parent is the folder that trainer.init_from reads"),
        (("trainer.init_from=nowhere",), "does not exist; name a run's folder or a .ckpt file"),
        (
            ("arch=ensemble", "head=ensemble", "loss=cosine", "arch.members=[parent]"),
            "an ensemble's weights are its members'",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_the_first_mismatch(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = content(home / "parent")
    small = SMALL if "arch=ensemble" not in arguments else [a for a in SMALL if not a.startswith("arch")]
    refused = call(home, *small, "run.cache=cache", "run.dir=refused", "trainer.init_from=parent", *arguments)
    assert refused.code == 2, refused
    assert words in refused.sentence
    assert not (home / "refused").exists()
    assert content(home / "parent") == before


def test_an_old_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    file = SCHEMA1 / "multirun" / "smoke" / "gru"
    config = yaml.safe_load((file / "config.yaml").read_text())
    world = [
        f"data.{key}={config['data'][key]}" for key in ("dim", "documents", "ood_documents", "planes", "topic_dims")
    ]
    model = ("arch=gru", f"arch.width={config['arch']['width']}", f"head.hidden={config['head']['hidden']}")
    done = call(
        tmp_path, *world, *model, "5cat=off", "trainer.max_epochs=1", "device=cpu", "logger=none", "run.dir=run",
        "run.cache=cache", f"trainer.init_from={file}",
    )  # fmt: skip
    assert done.code == 0, done.err
    (ancestor,) = lvm_lab.load(tmp_path / "run").identity["ancestors"]
    assert ancestor["fingerprint"] == config["identity"]["fingerprint"]
    assert ancestor["content"] == config["identity"]["content"]


def test_a_run_is_trained_longer_in_a_folder_of_its_own(home: Path) -> None:
    before = content(home / "parent")
    done = train(home, "longer", "trainer.continue_from=parent", "arch.dropout=0")
    assert done.code == 0, done.err
    assert content(home / "parent") == before
    parent, child = identity(home / "parent"), identity(home / "longer")
    assert child["content"]["continue_from"] == parent["fingerprint"]
    assert any(
        "with the weights of its last epoch and its optimiser's state" in note for note in notes(home / "longer")
    )
    (row,) = rows(home / "longer")
    assert row["epoch"] == 0
    assert row["val/loss"] < rows(home / "parent")[0]["val/loss"]
    # AdamW counts its steps on, and the rate has warmed up and come down anew.
    last = torch.load(home / "longer" / "checkpoints" / "last.ckpt", weights_only=True)
    steps = {int(state["step"]) for state in last["optimizer_states"][0]["state"].values()}
    assert steps == {rows(home / "parent")[-1]["step"] + row["step"]}
    assert last["lr_schedulers"][0]["last_epoch"] == row["step"]
    more = train(home, "longer", "trainer.continue_from=parent", "arch.dropout=0", "trainer.max_epochs=2")
    assert (more.code, "holds a run of another config" in more.sentence) == (2, True)
    (ancestor,) = lvm_lab.load(home / "longer").identity["ancestors"]
    assert (ancestor["setting"], ancestor["fingerprint"]) == ("continue_from", parent["fingerprint"])


def test_without_the_optimiser_the_best_weights_are_trained_longer(home: Path) -> None:
    shutil.copytree(home / "parent", home / "pruned")
    (home / "pruned" / "checkpoints" / "last.ckpt").unlink()
    before = content(home / "pruned")
    done = train(home, "from-best", "trainer.continue_from=pruned", *STILL)
    assert done.code == 0, done.err
    assert content(home / "pruned") == before
    result = json.loads((home / "pruned" / "result.json").read_text())
    words = f"whose last.ckpt is gone: with the weights of its {result['checkpoint']} and a new optimiser"
    assert any(words in note for note in notes(home / "from-best"))
    assert words in (home / "from-best" / "train.log").read_text()
    last = torch.load(home / "from-best" / "checkpoints" / "last.ckpt", weights_only=True)
    best = torch.load(home / "pruned" / "checkpoints" / result["checkpoint"], weights_only=True)
    torch.testing.assert_close(last["state_dict"], best["state_dict"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("arch.width=24",), "arch.width is 16 there and 24 here"),
        (("arch.dropout=0.3",), "arch.dropout is"),
        (("loss=mse",), "loss.name is infonce there and mse here"),
        (("data.seed=5",), "data.seed is 0 there and 5 here"),
        (("data.documents=80",), "data.documents is 60 there and 80 here"),
        (("trainer.continue_from=parent/checkpoints/best.ckpt",), "is no run's folder"),
        (("trainer.continue_from=.",), "holds no run"),
        (("run.dir=parent", "run.force=true"), "run.dir=parent is the folder that trainer.continue_from reads"),
    ],
)
def test_another_run_is_not_trained_longer(home: Path, arguments: tuple[str, ...], words: str) -> None:
    before = content(home / "parent")
    refused = train(home, "refused", "trainer.continue_from=parent", *arguments)
    assert refused.code == 2, refused
    assert words in refused.sentence
    assert not (home / "refused").exists()
    assert content(home / "parent") == before


def test_what_is_not_finished_is_not_trained_longer(home: Path) -> None:
    shutil.copytree(home / "parent", home / "started-only")
    (home / "started-only" / "result.json").unlink()
    refused = train(home, "refused", "trainer.continue_from=started-only")
    assert (refused.code, "is not finished" in refused.sentence) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["init_from", "continue_from"])
def test_killed_and_taken_up_again_it_ends_as_the_unbroken_one(home: Path, setting: str) -> None:
    command = (*SMALL, "run.cache=cache", "trainer.max_epochs=30", "5cat=off", f"trainer.{setting}=parent")
    unbroken = call(home, *command, f"run.dir=unbroken-{setting}")
    assert unbroken.code == 0, unbroken.err
    process = fork(home, *command, f"run.dir=killed-{setting}")
    assert wait_until(lambda: list(home.glob(f"killed-{setting}/checkpoints/last.ckpt")), process)
    process.kill()
    finish(process)
    assert not (home / f"killed-{setting}" / "result.json").exists()
    again = call(home, *command, f"run.dir=killed-{setting}")
    assert again.code == 0, again.err
    assert "going on after epoch" in again.out
    assert timeless(rows(home / f"killed-{setting}")) == timeless(rows(home / f"unbroken-{setting}"))
    assert notes(home / f"killed-{setting}") == notes(home / f"unbroken-{setting}")


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["init_from", "continue_from"])
def test_two_processes_begin_with_the_same_weights(home: Path, setting: str) -> None:
    command = (*SMALL, "run.cache=cache", f"trainer.{setting}=parent")
    two = ("device=ddp", "device.accelerator=cpu", "device.devices=2")
    done = finish(fork(home, *command, *two, f"run.dir=two-{setting}", GLOO_SOCKET_IFNAME="lo"))
    assert (done.code, done.err) == (0, ""), done
    one = call(home, *command, f"run.dir=one-{setting}")
    assert one.code == 0, one.err
    for key in ("train/loss", "val/loss"):
        assert rows(home / f"two-{setting}")[0][key] == pytest.approx(rows(home / f"one-{setting}")[0][key], abs=1e-5)
