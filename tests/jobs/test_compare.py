"""`compare`: what differs between two runs, and numbers of the same windows where there are such."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import Outcome, call, tree
from helpers.run_files import config, without_model, write, write_ranked
from lvm_lab import compare as command
from lvm_lab.jobs.compare import compare


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs without models: only what is in their configs can be told."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_setting_that_is_computed_with_is_told_where_it_differs(
    made_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"fingerprint": "b" * 64, "content": {"planted": "d" * 64}}
    write_ranked(made_up / "a", seed=1, device={"accelerator": "cpu"}, run={"root": "outputs"})
    write_ranked(made_up / "b", seed=2, arch="lstm", identity=other, device={"accelerator": "cuda"}, only={"here": 3})
    before = tree(made_up)
    assert command.main(["a", "b", "--json", "x.json"]) == 0
    report = json.loads(Path("x.json").read_text())
    assert report["config"] == {
        "arch.name": ["gru", "lstm"],
        "seed": [1, 2],
        "content.planted": ["c" * 64, "d" * 64],
        "only.here": [None, 3],
    }
    assert (report["reason"], report["parts"]) == ("VAL is not the same (other content of planted)", {})
    said = capsys.readouterr().out
    assert "no numbers are compared: VAL is not the same (other content of planted)" in said
    assert "dddddddd" in said
    Path("x.json").unlink()
    assert tree(made_up) == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"fold": 2}, "fold None against 2"),
        ({"skip_repeated": False}, "data.skip_repeated None against False"),
    ],
)
def test_another_val_is_told(made_up: Path, data: dict[str, Any], reason: str) -> None:
    write_ranked(made_up / "a")
    write_ranked(made_up / "b", data={"name": "planted", "path": None} | data)
    assert compare("a", "b")["reason"] == f"VAL is not the same ({reason})"


def test_a_run_without_a_model_is_told_by_its_config_alone(made_up: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ranked(made_up / "a")
    write(made_up / "b", config(seed=3), [], without_model("diverged", epochs=0))
    assert command.main(["a", "b"]) == 0
    said = capsys.readouterr().out
    assert "no numbers are compared: b diverged and has no checkpoint to judge" in said
    assert "seed" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a", "gone"], "gone does not exist; name a run's folder"),
        (["empty", "a"], "empty holds no run"),
        (["a", "file.ckpt"], "file.ckpt is of no run"),
    ],
)
def test_a_mistake_is_one_sentence(
    made_up: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    write_ranked(made_up / "a")
    (made_up / "empty").mkdir()
    (made_up / "file.ckpt").touch()
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """outputs/gru and outputs/lstm on the same bank of smooth walks."""
    work = tmp_path_factory.mktemp("trained")
    for name, documents, seed in (("bank", 90, 0), ("ood", 12, 1)):
        steps = np.random.default_rng(seed).standard_normal((documents, 13, 24))
        vectors = (steps[:, 1:] + steps[:, :-1]).reshape(-1, 24).astype(np.float32)
        articles, chunks = np.repeat(np.arange(documents), 12), np.tile(np.arange(12), documents)
        np.savez(work / f"{name}.npz", vectors=vectors, article_indices=articles, chunk_indices=chunks)
    for arch, judge in (("gru", ("5cat=off",)), ("lstm", ("5cat=smoke", "5cat.resamples=50"))):
        done = train(work, f"arch={arch}", *judge, f"run.dir=outputs/{arch}")
        assert done.code == 0, done.err
    return work


def train(work: Path, *more: str) -> Outcome:
    return call(
        work,
        *("data=npz", "data.path=bank.npz", "data.ood_path=ood.npz", "arch.width=16", "trainer.max_epochs=1"),
        *("trainer.batch_size=64", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache", *more),
    )


def test_numbers_are_paired_on_the_same_windows(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    code = command.main(["outputs/gru", "outputs/lstm", "--device", "cpu", "--json", "x.json", "--part", "val"])
    said = capsys.readouterr()
    assert code == 0, said.err
    report = json.loads(Path("x.json").read_text())
    assert report["reason"] is None
    assert report["config"]["arch.name"] == ["gru", "lstm"]
    (val,) = report["parts"].values()
    # The second's own numbers, as its result has them: it was judged by the same preset.
    halves = json.loads(Path("outputs/lstm/result.json").read_text())["val"]["five_cat"]["halves"]
    for key in ("A/cos", "A/margin", "B/mrr_unseen", "D/rollout"):
        number = val["numbers"][key]
        letter, name = key.split("/")
        assert number["values"][1] == pytest.approx(halves[letter]["numbers"][name]["value"], abs=1e-9)
        assert number["value"] == pytest.approx(number["values"][1] - number["values"][0], abs=1e-9)
        assert number["interval"][0] <= number["value"] <= number["interval"][1]
        assert 0 < number["p"] <= 1
    assert {"cos", "mrr_unseen", "across_documents", "store_mrr_unseen"} < set(val["numbers"])
    assert list(val["offsets"]) == ["k-3", "k-2", "k-1", "k+0", "k+1", "k+2", "k+3"]
    for name, (_, theirs) in val["offsets"].items():
        assert theirs == pytest.approx(halves["A"]["numbers"][name]["value"], abs=1e-9)
    assert "cosine by offset" in said.out
    assert f"{val['numbers']['A/margin']['value']:+.3f}" in said.out


def test_the_other_way_round_every_difference_is_the_opposite(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    there = compare("outputs/gru", "outputs/lstm", parts=("val", "ood"), device="cpu")["parts"]
    best = "outputs/lstm/checkpoints/best_5cat.ckpt"
    back = compare(best, "outputs/gru", parts=("ood", "val"), device="cpu")["parts"]
    assert list(there) == list(back) == ["val", "ood"]
    for part, judged in there.items():
        for key, number in judged["numbers"].items():
            assert back[part]["numbers"][key]["value"] == pytest.approx(-number["value"], abs=1e-9)
        for name, both in judged["offsets"].items():
            assert both[::-1] == pytest.approx(back[part]["offsets"][name])


def test_a_run_differs_from_itself_in_nothing(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    assert command.main(["outputs/lstm", "outputs/lstm", "--device", "cpu"]) == 0
    assert "the configs do not differ" in capsys.readouterr().out
    numbers = compare("outputs/lstm", "outputs/lstm", device="cpu")["parts"]["val"]["numbers"]
    assert {number["value"] for number in numbers.values()} == {0.0}
    assert {number["p"] for number in numbers.values()} == {1.0}


def test_data_that_changed_since_is_a_mistake(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    shutil.copy("ood.npz", "bank.npz")
    assert command.main(["outputs/gru", "outputs/lstm", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
