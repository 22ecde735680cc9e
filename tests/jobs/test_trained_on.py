"""A model is not judged on what it was trained on, wherever its checkpoint lies and whatever the data are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lvm_lab
from helpers.commands import Outcome, call
from lvm_lab import diagnose
from lvm_lab import evaluate as command
from lvm_lab.build import seen
from lvm_lab.model import KEY

# Each trains and judges: seconds each, minutes in all.
pytestmark = pytest.mark.slow

DIM, LENGTH = 24, 12
SMALL = ("arch=gru", "arch.width=16", "trainer.max_epochs=1", "trainer.batch_size=64", "device=cpu", "device.threads=1")
QUIET = ("5cat=off", "logger=none", "run.cache=cache", "data=npz")
JUDGE = ("5cat=smoke", "5cat.resamples=20", "cache=cache", "device=cpu", "device.threads=1")
LEAK = "so that it is not held out"


def walks(documents: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).standard_normal((documents, LENGTH + 1, DIM))
    return (steps[:, 1:] + steps[:, :-1]).reshape(-1, DIM).astype(np.float32)


def bank(path: Path, vectors: np.ndarray, first: int = 0) -> None:
    """An article bank whose ids begin anywhere."""
    documents = len(vectors) // LENGTH
    articles, chunks = np.repeat(np.arange(documents) + first, LENGTH), np.tile(np.arange(LENGTH), documents)
    np.savez(path, vectors=vectors, article_indices=articles, chunk_indices=chunks)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three banks; a run on two of them whose own validation set leaves none of their documents out; copies of them."""
    folder = tmp_path_factory.mktemp("trained-on")
    a, b = walks(60, 0), walks(60, 1)
    bank(folder / "a.npz", a)
    bank(folder / "b.npz", b, 500)
    bank(folder / "v.npz", walks(12, 2), 900)
    bank(folder / "fresh.npz", walks(60, 3))
    noise = 1e-4 * np.random.default_rng(7).standard_normal(a.shape)
    bank(folder / "renamed.npz", (a + noise).astype(np.float32), 3_000)
    mixed = np.concatenate([walks(60, 3), a[: 2 * LENGTH]])
    bank(folder / "mixed.npz", mixed)
    done = train(folder, "joined", "data.path=[a.npz,b.npz]", "data.val_path=v.npz")
    assert done.code == 0, done.err
    (folder / "elsewhere").mkdir()
    shutil.copy(folder / "joined" / "checkpoints" / "best.ckpt", folder / "elsewhere" / "model.ckpt")
    return folder


def train(home: Path, name: str, *arguments: str) -> Outcome:
    return call(home, *SMALL, *QUIET, f"run.dir={name}", *arguments)


def evaluate(home: Path, *arguments: str) -> Outcome:
    return call(home, *JUDGE, *arguments, main=command.main)


def data_of(home: Path) -> dict[str, Any]:
    (data,) = json.loads((home / "evaluation" / "evaluation.json").read_text())["data"]
    return data


@pytest.mark.parametrize("checkpoint", ["joined", "elsewhere/model.ckpt"])
@pytest.mark.parametrize("data", ["[a.npz,b.npz]", "a.npz", "renamed.npz"])
def test_a_model_is_not_judged_on_what_it_was_trained_on(home: Path, checkpoint: str, data: str) -> None:
    """Also copied elsewhere, on one of two joined stores, and on the same articles under other ids with noise."""
    judged = evaluate(home, checkpoint, "data=npz", f"data.path={data}", "parts=[val]")
    assert (judged.code, LEAK in judged.sentence) == (2, True), judged.err
    assert "of the val part hold chunks of what" in judged.sentence


@pytest.mark.parametrize("data", ["a.npz", "renamed.npz"])
def test_nor_are_its_numbers_diagnosed_there(home: Path, data: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(home)
    assert diagnose.main(["elsewhere/model.ckpt", "--data", data, "--device", "cpu"]) == 2
    assert LEAK in capsys.readouterr().err
    assert diagnose.main(["elsewhere/model.ckpt", "--data", "fresh.npz", "--device", "cpu"]) == 0


@pytest.mark.parametrize("data", ["a.npz", "renamed.npz"])
def test_an_ensemble_refuses_a_member_that_was_trained_on_its_val_part(home: Path, data: str) -> None:
    members = ("arch=ensemble", "arch.members=[elsewhere/model.ckpt]", "head=ensemble", f"data.path={data}")
    done = call(home, *members, *QUIET, "device=cpu", "run.dir=ensemble", "trainer.max_epochs=1")
    assert (done.code, LEAK in done.sentence) == (2, True), done.err
    assert not (home / "ensemble").exists()


@pytest.mark.parametrize("data", ["renamed.npz"])
def test_weights_that_were_trained_on_the_val_part_are_refused(home: Path, data: str) -> None:
    done = train(home, "started", f"data.path={data}", "trainer.init_from=elsewhere/model.ckpt")
    assert (done.code, LEAK in done.sentence) == (2, True), done.err


def test_weights_carry_all_that_they_have_seen(home: Path) -> None:
    """Started from a model of a and b and trained on other documents, it is judged on neither."""
    done = train(home, "second", "data.path=fresh.npz", "trainer.init_from=elsewhere/model.ckpt")
    assert done.code == 0, done.err
    one, both = (lvm_lab.load(home / name) for name in ("joined", "second"))
    own, before = seen.of(both, "second").sketches
    assert np.array_equal(before.codes_MC, seen.of(one, "joined").sketches[0].codes_MC)
    assert len(own.codes_MC) < 60 * LENGTH
    assert evaluate(home, "second", "parts=[val]").code == 0
    judged = evaluate(home, "second", "data=npz", "data.path=renamed.npz", "parts=[val]")
    assert (judged.code, LEAK in judged.sentence) == (2, True), judged.err


def test_an_ood_store_that_was_trained_on_is_left_out_by_name(home: Path) -> None:
    judged = evaluate(home, "joined", "parts=[val]", "ood=[renamed.npz,fresh.npz]")
    assert judged.code == 0, judged.err
    assert list(data_of(home)["parts"]) == ["val", "fresh"]
    report = json.loads((home / "evaluation" / "evaluation.json").read_text())
    (skipped,) = report["skipped"]
    assert skipped["path"] == "renamed.npz"
    assert LEAK in skipped["reason"]


def test_a_few_windows_are_taken_out_and_counted(home: Path) -> None:
    """Two of 62 documents were trained on: 14 of 434 windows."""
    judged = evaluate(home, "joined", "parts=[]", "ood=[mixed.npz]")
    assert judged.code == 0, judged.err
    data = data_of(home)
    assert data["parts"]["mixed"]["documents"] == 60
    assert [note.split(" hold ")[0] for note in data["notes"]] == ["14 of 434 windows of the mixed part"]
    assert "14 of 434 windows of the mixed part" in judged.out


def test_on_its_own_held_out_parts_every_window_counts(home: Path) -> None:
    assert evaluate(home, "joined", "parts=[val,test]").code == 0
    data = data_of(home)
    assert data["parts"]["val"]["windows"] == 12 * (LENGTH - 5)
    assert data["notes"] == []


def test_an_older_checkpoint_is_judged_as_before_and_says_so(home: Path) -> None:
    checkpoint = torch.load(home / "elsewhere" / "model.ckpt", weights_only=True)
    assert checkpoint[KEY][seen.TRAINED_ON]["sketches"][0]["codes_MC"].dtype == torch.uint8
    del checkpoint[KEY][seen.TRAINED_ON]
    (home / "older").mkdir()
    torch.save(checkpoint, home / "older" / "model.ckpt")
    judged = evaluate(home, "older/model.ckpt", "data=npz", "data.path=fresh.npz", "parts=[val]")
    assert judged.code == 0, judged.err
    (note,) = data_of(home)["notes"]
    assert "records no training rows" in note
    same = evaluate(home, "older/model.ckpt", "data=npz", "data.path=[a.npz,b.npz]", "parts=[val]")
    assert "had a validation set of its own" in same.sentence
    done = train(home, "from-older", "data.path=fresh.npz", "trainer.init_from=older/model.ckpt")
    assert done.code == 0, done.err
    assert any("records no training rows" in note for note in json.loads(result(home, "from-older"))["notes"])
    assert seen.of(lvm_lab.load(home / "from-older"), "").unrecorded == ("older/model.ckpt",)


def result(home: Path, name: str) -> str:
    return (home / name / "result.json").read_text()
