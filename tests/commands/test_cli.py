"""The command line: the spelling of 5cat, answers without torch, and one sentence for every mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from helpers.commands import ENVIRONMENT, PATIENCE, TINY, call, finish, fork, only_run, run, tree
from lvm_lab.config import conf


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("5cat=strict", "five_cat=strict"),
        ("5cat", "five_cat"),
        ("+5cat=strict", "+five_cat=strict"),
        ("++5cat.required=3", "++five_cat.required=3"),
        ("~5cat", "~five_cat"),
        ("~5cat=off", "~five_cat=off"),
        ("5cat.max_windows=7", "five_cat.max_windows=7"),
        ("5cat@other=strict", "five_cat@other=strict"),
        ("5cat=a,b", "five_cat=a,b"),
        ("x=5cat", "x=5cat"),
        ("15cat=strict", "15cat=strict"),
        ("a.5cat=strict", "a.5cat=strict"),
        ("5cats=strict", "5cats=strict"),
        ("5cat_more=1", "5cat_more=1"),
        ("five_cat=strict", "five_cat=strict"),
        ("-m", "-m"),
        ("local=mine", "local@_global_=mine"),
        ("locale=mine", "locale=mine"),
    ],
)
def test_5cat_is_spelt_out(typed: str, read: str) -> None:
    assert conf.spell_out([typed]) == [read]


def test_both_spellings_reach_the_config(tmp_path: Path) -> None:
    shown = call(tmp_path, "5cat=strict", "5cat.max_windows=7", "--cfg", "job")
    assert shown.code == 0
    assert "max_windows: 7" in shown.out
    assert "every_interval_clear: true" in shown.out
    assert call(tmp_path, "five_cat=strict", "five_cat.max_windows=7", "--cfg", "job").out == shown.out


GUARD = """
import runpy, sys
code = 0
sys.argv = ["lvm_lab.train", *sys.argv[1:]]
try:
    runpy.run_module("lvm_lab.train", run_name="__main__", alter_sys=True)
except SystemExit as leaving:
    code = leaving.code
for name in ("torch", "pytorch_lightning", "wandb"):
    if name in sys.modules:
        sys.exit(name + " was imported")
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--help"], "    amn, distilgpt2, "),
        (["arch=gru", "--help", "all"], "_target_: lvm_lab.archs.gru.GRU"),
        (["arch=gru", "5cat=off", "--cfg", "job"], "_target_: lvm_lab.archs.gru.GRU"),
        (["arch=nope"], "arch=nope does not exist"),
        # Every row is typed; device=cuda is a matter of where it will run.
        (["schedule=smoke", "schedule.only=gru,lstm", "schedule.dry_run=true", "device=cuda"], "2 to run"),
    ],
)
def test_composing_needs_no_torch_and_leaves_nothing(tmp_path: Path, arguments: list[str], answer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GUARD, *arguments],
        cwd=tmp_path,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == (2 if arguments == ["arch=nope"] else 0), done.stderr
    assert answer in done.stdout + done.stderr
    assert tree(tmp_path) == {}


def test_help_of_everything_names_every_group(tmp_path: Path) -> None:
    shown = call(tmp_path, "--help", "all")
    assert shown.code == 0
    for group in ("arch", "data", "device", "five_cat", "head", "logger", "loss"):
        assert f"\n{group}: " in shown.out, group


MISTAKES = {
    "own settings that are not there": (["local=nope"], ["local=nope does not exist; write", "conf/local/nope.yaml"]),
    "threshold of no gate": (["+5cat.thresholds.a.foo=1"], ["thresholds.a needs exactly val, ood", "missing: foo)"]),
    "threshold of text": (
        ["5cat.thresholds.d.val.rollout=high"],
        ["d.val.rollout=high does not fit; give it a number"],
    ),
    "unknown option": (["arch=nope"], ["arch=nope does not exist", "amn, distilgpt2, ensemble, gru"]),
    "unknown preset": (["5cat=nope"], ["5cat=nope does not exist", "smoke, standard, strict"]),
    "unknown key": (
        ["trainer.max_epoch=3"],
        ["trainer.max_epoch does not exist (did you mean max_epochs?)", "batch_size, checkpoint, continue_from"],
    ),
    "unknown key of an option": (
        ["arch=transformer", "arch.head=2"],
        ["arch.head does not exist (did you mean heads?)", "dropout, ff_mult, heads, layers, width"],
    ),
    "unknown key of 5cat": (["5cat.max_window=3"], ["5cat.max_window does not exist (did you mean max_windows?)"]),
    "unknown group": (
        ["archh=gru"],
        ["archh does not exist (did you mean arch?)", "arch, callbacks, data, device, 5cat"],
    ),
    "added key": (["+arch.widht=3"], ["arch.widht does not exist (did you mean width?)"]),
    "added group": (["+foo=1"], ["foo does not exist", "arch, callbacks, data"]),
    "group taken away": (["~5cat"], ["5cat is taken away"]),
    "malformed": (["arch=gru=3"], ["'arch=gru=3' is no setting", "group=option"]),
    "no setting": (["foo"], ["'foo' is no setting"]),
    "list without -m": (["arch=gru,lstm"], ["add -m"]),
    "null group": (["loss=null"], ["loss=null names no option"]),
    "number for a group": (["trainer=3"], ["trainer=3 does not fit"]),
    "broken reference": (["arch.layers=${nothing}"], ["arch.layers refers to ${nothing}, which does not exist"]),
    "wrong type": (["arch.layers=abc"], ["arch.layers='abc' does not fit; give it a whole number"]),
    "wrong choice": (["trainer.precision=8"], ["trainer.precision=8 does not fit; give it one of 32-true"]),
    "wrong seed": (["seed=-1"], ["seed=-1 does not fit"]),
    "wrong negatives": (["loss.negatives=abc"], ["loss.negatives='abc' does not fit"]),
    "negative clip": (["trainer.optim.clip=-1"], ["trainer.optim.clip=-1 must be 0 or greater"]),
    "bad combination": (["arch=transformer", "arch.heads=3"], ["heads = 3 does not divide width = 32"]),
    "unpayable batch": (["trainer.batch_size=4096"], ["cannot fill one batch of 4096", "lower trainer.batch_size"]),
    "too many dims": (["data.dim=16"], ["data.dim=16 is too small", "set data.dim to"]),
    "no chunk beside a window's own": (
        ["loss=within_document", "data.length=6"],
        ["no training window has any besides its own", "set loss=infonce"],
    ),
    "no documents": (["data.documents=0"], ["data.documents=0 makes no world"]),
    "unknown strategy": (["device.strategy=foo"], ["device.strategy='foo' does not exist"]),
}


def test_a_reader_who_has_seen_enough_is_no_mistake(tmp_path: Path) -> None:
    command = f"{sys.executable} -m lvm_lab.train --help | true"
    env = os.environ | ENVIRONMENT
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence(tmp_path: Path, mistake: str) -> None:
    arguments, expected = MISTAKES[mistake]
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    refused = call(work, *TINY, f"run.cache={cache}", *arguments)
    assert refused.code == 2
    for words in expected:
        assert words in refused.sentence
    assert tree(work) == {}


def test_device_cuda_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused = call(tmp_path, *TINY, "device=cuda")
    assert refused.code == 2
    assert refused.sentence == "this machine has no gpu device that PyTorch can use; set device=cpu."
    assert tree(tmp_path) == {}


def test_all_positions_of_an_arch_that_is_not_causal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvm_lab.archs.gru.GRU.causal", False)
    work = tmp_path / "work"
    work.mkdir()
    refused = call(work, *TINY, f"run.cache={tmp_path / 'cache'}", "trainer.supervision=all")
    assert refused.code == 2
    assert "arch=gru is not causal" in refused.sentence
    assert tree(work) == {}


def test_a_failed_data_gate_that_refuses_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    refused = call(work, *TINY, f"run.cache={tmp_path / 'cache'}", "data.variant=no_signal", "data.gate=refuse")
    assert refused.code == 2
    assert "the data gate failed" in refused.sentence
    assert tree(work) == {}


def bank(file: Path, *, dim: int = 32, documents: int = 40, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((documents * 10, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.savez(
        file,
        vectors=vectors,
        article_ids=np.repeat(np.arange(documents), 10),
        chunk_indices=np.tile(np.arange(10), documents),
    )
    return file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of vectors, good and bad."""
    folder = tmp_path_factory.mktemp("vectors")
    bank(folder / "good.npz")
    bank(folder / "narrow.npz", dim=16, seed=1)
    with np.load(bank(folder / "nan.npz", seed=2)) as saved:
        arrays = dict(saved)
    arrays["vectors"][7, 3] = np.nan
    np.savez(folder / "nan.npz", **arrays)
    rng = np.random.default_rng(3)
    np.savez(
        folder / "windows.npz",
        contexts=rng.standard_normal((50, 5, 32)).astype(np.float32),
        targets=rng.standard_normal((50, 32)).astype(np.float32),
    )
    (folder / "text.npz").write_text("no archive")
    return folder


# What is wrong with the data, the settings with {} for the folder of files, and words of the sentence.
DATA_MISTAKES = {
    "no path": ([], ["data=npz needs vectors to read: add data.path=FILE.npz."]),
    "no file": (["data.path={}/missing.npz"], ["missing.npz does not exist; check the path."]),
    "no archive": (["data.path={}/text.npz"], ["text.npz"]),
    "NaN": (["data.path={}/nan.npz"], ["vectors[7] holds NaN or infinity"]),
    "context length": (["data.path={}/windows.npz", "data.context_length=7"], ["windows.npz", "7", "5"]),
    "OOD of another dim": (
        ["data.path={}/good.npz", "data.ood_path={}/narrow.npz"],
        ["data.ood_path does not come from the training data's encoder", "16", "32"],
    ),
    "missing OOD": (["data.path={}/good.npz", "data.ood_path={}/missing.npz"], ["missing.npz does not exist"]),
    "bank's key": (["data.path={}/good.npz", "data.pathh=x"], ["data.pathh does not exist (did you mean path?)"]),
}
NPZ = [a for a in TINY if not a.startswith("data.")]


@pytest.mark.parametrize("mistake", DATA_MISTAKES)
def test_mistakes_with_data(tmp_path: Path, files: Path, mistake: str) -> None:
    arguments, expected = DATA_MISTAKES[mistake]
    work, cache = tmp_path / "work", tmp_path / "cache"
    work.mkdir()
    refused = call(work, *NPZ, "data=npz", f"run.cache={cache}", *(a.format(files) for a in arguments))
    assert refused.code == 2
    for words in expected:
        assert words in refused.sentence
    assert tree(work) == {}
    if "good" not in " ".join(arguments):
        kept = [file.relative_to(cache).parts[0] for file in cache.rglob("*") if file.is_file()]
        # What a file's bytes are may be remembered, nothing of what it holds.
        assert set(kept) <= {"digests"}, "a refused file may not be imported"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in that holds one finished run in outputs/ and a cache."""
    folder = tmp_path_factory.mktemp("finished")
    done = call(folder, *TINY, "run.cache=cache", "trainer.max_epochs=1")
    assert done.code == 0, done.err
    return folder


def test_a_folder_of_another_config_is_refused(finished: Path) -> None:
    taken = only_run(finished / "outputs").relative_to(finished)
    before = tree(finished)
    refused = call(finished, *TINY, "run.cache=cache", f"run.dir={taken}")
    assert refused.code == 2
    assert f"{taken} holds a run of another config" in refused.sentence
    assert "run.force=true" in refused.sentence
    assert tree(finished) == before


def test_a_foreign_folder_is_refused_even_by_force(finished: Path) -> None:
    foreign = finished / "mine"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("keep me")
    before = tree(finished)
    for more in ([], ["run.force=true"]):
        refused = call(finished, *TINY, "run.cache=cache", "run.dir=mine", *more)
        assert refused.code == 2
        assert refused.sentence == (
            f"{finished / 'mine'} is not a run's folder and is not empty; choose another run.dir."
        )
        assert tree(finished) == before


def test_a_file_in_the_folders_place_is_refused(finished: Path) -> None:
    (finished / "file").write_text("")
    before = tree(finished)
    refused = call(finished, *TINY, "run.cache=cache", "run.dir=file")
    assert refused.code == 2
    assert "file is a file where a run's folder is needed" in refused.sentence
    refused = call(finished, *TINY, "run.cache=cache", "run.root=file")
    assert refused.code == 2
    assert refused.sentence == "file: File exists; mend that and give the same command again."
    assert tree(finished) == before


def test_two_processes_do_not_share_a_folder(finished: Path) -> None:
    taken = only_run(finished / "outputs")
    with FileLock(taken / ".lock"):
        refused = call(finished, *TINY, "run.cache=cache", "trainer.max_epochs=1")
    assert refused.code == 2
    assert "another process is working on" in refused.sentence


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["arch.layers=abc"], ["arch=nope"]])
def test_a_mistake_in_a_process_of_its_own(tmp_path: Path, arguments: list[str]) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = (*TINY, f"run.cache={tmp_path / 'cache'}", *arguments)
    # The second is told before torch is imported, which takes longer than all else.
    refused = run(work, *command) if "arch=nope" in arguments else finish(fork(work, *command))
    assert refused.code == 2
    assert refused.out == ""
    assert refused.sentence
    assert "Traceback" not in refused.err
    assert tree(work) == {}
