"""One run from its command to its folder: what is written, read again, refused and mirrored."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lvm_lab
from helpers.commands import TINY, Outcome, call, finish, fork, only_run, rows, timeless, tree
from lvm_lab.errors import UserError
from lvm_lab.reporting.plots import FIGURES
from lvm_lab.reporting.words import BASELINES
from lvm_lab.runs.identity import fingerprint
from lvm_lab.runs.result import Result

DOCUMENTED = {
    "config.yaml",
    "history.jsonl",
    "train.log",
    "result.json",
    "moments.npz",
    "MODEL_CARD.md",
    "plots",
    *(f"plots/{name}.png" for name in FIGURES),
    "checkpoints",
    "checkpoints/best.ckpt",
    "checkpoints/best_5cat.ckpt",
    "checkpoints/last.ckpt",
}
# Of W&B's file: the size of a block and the kinds of pieces that end a record.
BLOCK, WHOLE, LAST = 32 * 1024, 1, 4
HELD_ALOUD = "words-that-stand-in-the-environment-alone"


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished run: where it was started, its folder, and what the command said."""

    work: Path
    folder: Path
    said: Outcome

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.folder / "result.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The one run that most tests look at, by the command in a process of its own."""
    work = tmp_path_factory.mktemp("run")
    said = finish(fork(work, *TINY, "run.cache=cache", LVM_TEST_WORDS=HELD_ALOUD))
    assert said.code == 0, said.err
    return Done(work, only_run(work / "outputs"), said)


@pytest.fixture
def again(done: Done, tmp_path: Path) -> Done:
    """A copy of the finished run to spoil."""
    work = tmp_path / "work"
    shutil.copytree(done.work, work)
    return Done(work, only_run(work / "outputs"), done.said)


def test_the_folder_holds_what_is_documented(done: Done) -> None:
    assert set(tree(done.folder)) - {".lock"} == DOCUMENTED
    assert set(tree(done.work)) & {"outputs", "cache", "multirun", "wandb"} == {"outputs", "cache"}


def test_the_terminal_shows_tables_verdict_and_checkpoint(done: Done) -> None:
    assert done.said.err == ""
    for words in (
        "5CAT on VAL",
        "5CAT on OOD",
        "copy-last",
        "ridge",
        "oracle",
        f"5CAT {done.result['five_cat']['passed']} of 5",
    ):
        assert words in done.said.out, words
    assert str(done.folder.relative_to(done.work) / "checkpoints" / "best_5cat.ckpt") in done.said.out.replace("\n", "")


def test_result_has_the_documented_fields(done: Done) -> None:
    result = done.result
    assert set(result) == {f.name for f in dataclasses.fields(Result)}
    assert result["name"] == done.folder.name == f"gru-infonce-planted-{result['fingerprint'][:8]}"
    assert (result["arch"], result["loss"], result["data"]) == ("gru", "infonce", "planted")
    assert (result["status"], result["error"], result["checkpoint"]) == ("finished", None, "best_5cat.ckpt")
    assert (result["seed"], result["epochs"]) == (0, 2)
    assert result["params"] > 1000
    assert result["seconds"] > 0
    judged = result["five_cat"]
    assert set(judged["gates"]) == set("ABCDE")
    assert judged["passed"] == sum(gate["state"] is True for gate in judged["gates"].values())
    assert judged["verdict"] in ("pass", "fail", "undecided")
    assert set(result["baselines"]) == set(BASELINES) - {"nearest", "linear_metric"}
    for part in ("val", "test", "ood"):
        assert result[part], part


def test_history_has_a_row_for_each_epoch(done: Done) -> None:
    history = rows(done.folder)
    assert [row["epoch"] for row in history] == [0, 1]
    assert history[0]["step"] * 2 == history[1]["step"] > 0
    for row in history:
        assert {"train/loss", "train/infonce", "val/loss", "val/cos", "lr", "gradient_share/infonce"} <= set(row)
        assert row["seconds"] > 0
    assert sum(v for k, v in history[0].items() if k.startswith("gradient_share/")) == pytest.approx(1)
    # 5cat=smoke judges every fifth epoch and the last.
    assert "5cat/passed" not in history[0]
    assert 0 <= history[1]["5cat/passed"] <= 4


def test_config_gives_the_same_fingerprint(done: Done) -> None:
    config = yaml.safe_load((done.folder / "config.yaml").read_text())
    recorded = config.pop("identity")
    own, content = recorded["fingerprint"], recorded["content"]
    assert own == done.result["fingerprint"]
    assert fingerprint(config, content) == own
    elsewhere = config | {"run": {"root": "elsewhere"}, "device": {}, "logger": {}}
    assert fingerprint(elsewhere, content) == own
    assert fingerprint(config | {"seed": 1}, content) != own
    assert fingerprint(config, {"planted": "other"}) != own


def test_config_composes_to_the_same_run_again(done: Done) -> None:
    """Every value of the recorded config, given on the command line, names the same folder."""
    config = yaml.safe_load((done.folder / "config.yaml").read_text())
    config.pop("identity")
    settings: list[str] = []

    def spell(node: dict[str, Any], path: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                spell(value, f"{path}{key}.")
            elif key not in ("_target_", "name") and not path.startswith("run"):
                settings.append(f"{path}{key}={json.dumps(value)}")

    spell(config, "")
    choices = [f"{group}={config[group]['name']}" for group in ("arch", "loss", "data", "head", "five_cat")]
    same = call(done.work, *choices, *settings, "run.cache=cache")
    assert same.code == 0, same.err
    assert "finished already" in same.out


def test_the_same_command_again_says_finished_and_changes_nothing(done: Done) -> None:
    before = tree(done.folder)
    said = call(done.work, *TINY, "run.cache=cache")
    assert said.code == 0, said.err
    assert "this run is finished already" in said.out
    assert "5CAT on VAL" in said.out
    after = tree(done.folder)
    assert {k: v for k, v in after.items() if k != ".lock"} == {k: v for k, v in before.items() if k != ".lock"}


@pytest.mark.slow
def test_force_starts_over(again: Done) -> None:
    history, before = rows(again.folder), tree(again.folder)
    said = call(again.work, *TINY, "run.cache=cache", "run.force=true")
    assert said.code == 0, said.err
    after = tree(again.folder)
    assert set(after) - {".lock"} == DOCUMENTED
    assert all(after[name] > before[name] for name in DOCUMENTED)
    assert timeless(rows(again.folder)) == timeless(history)


def test_a_failed_run_is_tried_again(again: Done) -> None:
    result = again.result | {"status": "failed", "error": "a broken cable"}
    (again.folder / "result.json").write_text(json.dumps(result))
    said = call(again.work, *TINY, "run.cache=cache")
    assert said.code == 0, said.err
    assert again.result["status"] == "finished"
    assert again.result["error"] is None


def test_started_without_last_checkpoint_starts_over(again: Done) -> None:
    history = rows(again.folder)
    (again.folder / "result.json").unlink()
    (again.folder / "checkpoints" / "last.ckpt").unlink()
    said = call(again.work, *TINY, "run.cache=cache")
    assert said.code == 0, said.err
    assert "going on" not in said.out
    assert timeless(rows(again.folder)) == timeless(history)


def test_two_runs_of_one_seed_are_equal(done: Done, tmp_path: Path) -> None:
    said = call(tmp_path, *TINY, f"run.cache={done.work / 'cache'}")
    assert said.code == 0, said.err
    assert timeless(rows(only_run(tmp_path / "outputs"))) == timeless(rows(done.folder))


def test_our_own_error_is_recorded_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr("lvm_lab.training.module.LatentVectorModule.validation_step", broken)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        call(tmp_path, *TINY, "run.cache=cache")
    folder = only_run(tmp_path / "outputs")
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "failed"
    assert result["error"] == "RuntimeError: a bug of ours"
    assert "a bug of ours" in (folder / "train.log").read_text()


@pytest.mark.slow
def test_multirun_puts_each_run_into_a_folder_of_its_own(done: Done) -> None:
    said = call(done.work, "-m", *TINY, "arch=gru,lstm", "trainer.max_epochs=1", "run.cache=cache")
    assert said.code == 0, said.err
    folders = sorted(p.parent for p in (done.work / "multirun").rglob("result.json"))
    assert [p.parent.parent for p in folders] == [done.work / "multirun"] * 2
    assert [p.name.split("-")[0] for p in folders] == ["gru", "lstm"]
    for folder in folders:
        assert set(tree(folder)) - {".lock"} == DOCUMENTED
    assert only_run(done.work / "outputs") == done.folder


@pytest.mark.slow
def test_a_failing_job_lets_the_others_finish(done: Done, tmp_path: Path) -> None:
    cache = f"run.cache={done.work / 'cache'}"
    # Four heads do not divide 30; the two others do not care.
    jobs = ("-m", *TINY, "arch=gru,transformer,lstm", "arch.width=30", "trainer.max_epochs=1", cache)
    said = finish(fork(tmp_path, *jobs))
    assert said.code == 1
    assert "Traceback" not in said.err
    assert said.err.strip().splitlines()[-1].startswith("error: transformer: heads = 4 does not divide width = 30")
    results = [json.loads(p.read_text()) for p in sorted((tmp_path / "multirun").rglob("result.json"))]
    assert [(r["arch"], r["status"]) for r in results] == [("gru", "finished"), ("lstm", "finished")]
    assert not list((tmp_path / "multirun").rglob("transformer*"))


def test_a_mistake_in_a_multirun_runs_nothing(tmp_path: Path) -> None:
    said = call(tmp_path, "-m", *TINY, "arch=gru,nope", "run.cache=cache")
    assert said.code == 2
    assert "arch=nope does not exist" in said.sentence
    assert not list(tmp_path.rglob("result.json"))


CHECKPOINTS = ("best.ckpt", "best_5cat.ckpt", "last.ckpt")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_load_without_unpickling(done: Done, name: str) -> None:
    saved = torch.load(done.folder / "checkpoints" / name, map_location="cpu", weights_only=True)
    model = {"config", "contract", "version", "golden_input", "golden_output"}
    assert set(saved["lvm_lab"]) == model | {"content", "fingerprint", "ancestors", "trained_on"}
    assert ("optimizer_states" in saved and bool(saved["optimizer_states"])) == (name == "last.ckpt")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_loaded_model_gives_the_recorded_output(done: Done, name: str) -> None:
    file = done.folder / "checkpoints" / name
    said = torch.load(file, weights_only=True)["lvm_lab"]
    model = lvm_lab.load(file)
    assert not model.training
    torch.testing.assert_close(model.golden_output(said["golden_input"]), said["golden_output"])
    with torch.no_grad():
        prediction = model.predict(said["golden_input"])
    torch.testing.assert_close(prediction.raw_ND, said["golden_output"])
    torch.testing.assert_close(prediction.unit_ND, torch.nn.functional.normalize(said["golden_output"], dim=-1))


def tampered(done: Done, tmp_path: Path, change: Any) -> Path:
    saved = torch.load(done.folder / "checkpoints" / "best_5cat.ckpt", weights_only=True)
    change(saved)
    torch.save(saved, tmp_path / "tampered.ckpt")
    return tmp_path / "tampered.ckpt"


def test_a_tampered_golden_pair_is_refused(done: Done, tmp_path: Path) -> None:
    file = tampered(done, tmp_path, lambda saved: saved["lvm_lab"]["golden_output"].neg_())
    with pytest.raises(UserError, match="gives another output than when it was saved"):
        lvm_lab.load(file)


def test_tampered_weights_are_refused(done: Done, tmp_path: Path) -> None:
    def change(saved: dict[str, Any]) -> None:
        for name, weights in saved["state_dict"].items():
            if name.startswith("backbone.") and weights.ndim == 2:
                weights.neg_()

    with pytest.raises(UserError, match="gives another output than when it was saved"):
        lvm_lab.load(tampered(done, tmp_path, change))


def test_a_swapped_arch_is_refused(done: Done, tmp_path: Path) -> None:
    def change(saved: dict[str, Any]) -> None:
        arch = saved["lvm_lab"]["config"]["arch"]
        arch |= {"name": "lstm", "_target_": "lvm_lab.archs.lstm.LSTM"}

    with pytest.raises(UserError, match="does not fit the architecture"):
        lvm_lab.load(tampered(done, tmp_path, change))


def test_other_files_are_no_checkpoints(done: Done, tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("weights")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    torch.save({"code": Outcome(0, "", "")}, tmp_path / "pickled.ckpt")
    half = (done.folder / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "half.ckpt").write_bytes(half[: len(half) // 2])
    for name, words in (
        ("missing", "does not exist"),
        ("text", "is no readable checkpoint"),
        ("pickled", "is no readable checkpoint"),
        ("half", "is no readable checkpoint"),
        ("foreign", "was not written by lvm_lab"),
    ):
        with pytest.raises(UserError, match=words):
            lvm_lab.load(tmp_path / f"{name}.ckpt")


def test_nothing_of_the_environment_is_written(done: Done) -> None:
    found = [p for p in done.folder.rglob("*") if p.is_file() and HELD_ALOUD.encode() in p.read_bytes()]
    assert found == []
    log = (done.folder / "train.log").read_text()
    for name, value in os.environ.items():
        if any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")) and len(value) >= 8:
            assert value not in log, name


@pytest.mark.parametrize("arguments", [["trainer.optim.lr=1e30", "trainer.optim.clip=0", "loss=mse"]])
def test_a_diverged_run_counts_as_finished(done: Done, tmp_path: Path, arguments: list[str]) -> None:
    command = (*TINY, f"run.cache={done.work / 'cache'}", "trainer.max_epochs=4", *arguments)
    said = call(tmp_path, *command)
    assert said.code == 0, said.err
    assert "diverged" in said.out
    folder = only_run(tmp_path / "outputs")
    result = json.loads((folder / "result.json").read_text(), parse_constant=pytest.fail)
    assert (result["status"], result["checkpoint"]) == ("diverged", None)
    assert 1 <= result["epochs"] < 4
    assert rows(folder)[-1]["train/loss"] is None or rows(folder)[-1]["val/loss"] is None
    before = tree(folder)
    said = call(tmp_path, *command)
    assert said.code == 0
    assert "this run is finished already" in said.out
    assert {k: v for k, v in tree(folder).items() if k != ".lock"} == {k: v for k, v in before.items() if k != ".lock"}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, done: Done) -> Path:
    """The folder of a run with logger=wandb on a machine without an account."""
    work = tmp_path_factory.mktemp("mirrored")
    home = tmp_path_factory.mktemp("home")
    no_account = {"HOME": str(home), "WANDB_MODE": None, "WANDB_API_KEY": None, "LVM_TEST_WORDS": HELD_ALOUD}
    said = finish(fork(work, *TINY, "logger=wandb", f"run.cache={done.work / 'cache'}", **no_account))
    assert said.code == 0, said.err
    return only_run(work / "outputs")


def records(folder: Path) -> list[Any]:
    """What an offline W&B run recorded: blocks of 32 KiB, in them pieces with checksum, length and kind."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, joined, found = file.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        joined += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (WHOLE, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(joined)
            found.append(record)
            joined = b""
    return found


@pytest.mark.slow
def test_wandb_offline_holds_what_history_holds(mirrored: Path) -> None:
    logged = []
    for record in records(mirrored):
        if record.WhichOneof("record_type") == "history":
            pairs = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            told = {k: v for k, v in pairs.items() if not k.startswith(("_", "plots/", "5cat/gates"))}
            logged += [told] if told else []
    history = rows(mirrored)
    numbers = [{k: v for k, v in row.items() if v is not None} for row in history]
    assert len(numbers) == 2
    assert logged == numbers


@pytest.mark.slow
def test_wandb_offline_holds_the_config_and_the_result(mirrored: Path) -> None:
    result = json.loads((mirrored / "result.json").read_text())
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for record in records(mirrored):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            assert record.run.display_name == result["name"]
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "summary":
            for item in record.summary.update:
                summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert config["arch"]["name"] == "gru"
    assert config["trainer"]["max_epochs"] == 2
    assert summary["status"] == "finished"
    assert summary["5cat"] == {key: result["five_cat"][key] for key in ("passed", "verdict")}
    # Of `following`, what was measured, which is nothing on documents of this length.
    assert summary["val"] == {
        key: value for key, value in result["val"].items() if key not in ("five_cat", "following")
    }


@pytest.mark.slow
def test_wandb_writes_nothing_of_the_environment_and_changes_no_number(mirrored: Path, done: Done) -> None:
    found = [p for p in mirrored.rglob("*") if p.is_file() and HELD_ALOUD.encode() in p.read_bytes()]
    assert found == []
    assert timeless(rows(mirrored)) == timeless(rows(done.folder))
    assert mirrored.name == done.folder.name
    inside = {name for name in tree(mirrored) if not name.startswith("wandb")}
    assert inside - {".lock"} == DOCUMENTED
    assert not (mirrored.parents[1] / "wandb").exists()
