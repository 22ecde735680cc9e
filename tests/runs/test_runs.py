"""What makes two runs the same, and what is to be done in a folder: start, go on, or say that it is finished."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import identity
from lvm_lab.runs.folder import RunFolder, claim
from lvm_lab.runs.identity import computing, fingerprint, ground, reads_files
from lvm_lab.runs.process import commit
from lvm_lab.runs.reading import locked
from lvm_lab.runs.result import Result

CONTENT = {"store": "a" * 64, "ood": "b" * 64}
CONFIG: dict[str, Any] = {
    "seed": 0,
    "arch": {"name": "gru", "width": 256},
    "head": {"name": "dual", "hidden": 512},
    "loss": {"name": "mse", "terms": {"mse": {"weight": 1.0}}},
    "data": {
        "_target_": "lvm_lab.data.sources.npz.Npz",
        "name": "npz",
        "path": "/a/x.npz",
        "val_path": None,
        "ood_path": "o.npz",
        "bank_path": None,
        "fold": None,
        "context_length": 5,
    },
    "trainer": {"max_epochs": 20, "precision": "32-true", "batch_size": 256},
    "five_cat": {"name": "standard", "seed": 0},
    "device": {"accelerator": "auto", "devices": 1},
    "logger": {"wandb": "off"},
    "run": {"dir": None, "force": False, "root": "outputs", "cache": None},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    node = config
    *path, last = key.split(".")
    for name in path:
        node = node[name]
    assert node.get(last, "none") != value
    node[last] = value
    return config


OWN = fingerprint(CONFIG, CONTENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.path", "/somewhere/else.npz"),
        ("data.val_path", "v.npz"),
        ("data.ood_path", None),
        ("data.bank_path", "b.npz"),
        ("device.accelerator", "gpu"),
        ("device.devices", 4),
        ("logger.wandb", "online"),
        ("run.dir", "here"),
        ("run.force", True),
        ("run.root", "there"),
        ("run.cache", "/tmp/c"),
    ],
)
def test_where_and_how_a_run_runs_is_no_part_of_it(key, value):
    assert fingerprint(changed(key, value), CONTENT) == OWN


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("arch.width", 128),
        ("arch.name", "lstm"),
        ("head.hidden", 64),
        ("loss.terms.mse.weight", 2.0),
        ("data.fold", 0),
        ("data.context_length", 6),
        ("trainer.max_epochs", 21),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.batch_size", 128),
        ("five_cat.name", "strict"),
        ("five_cat.seed", 1),
    ],
)
def test_what_a_run_computes_is(key, value):
    assert fingerprint(changed(key, value), CONTENT) != OWN


def test_data_enters_by_content():
    assert fingerprint(CONFIG, CONTENT | {"store": "c" * 64}) != OWN
    assert fingerprint(CONFIG, CONTENT | {"val": "c" * 64}) != OWN
    assert fingerprint(CONFIG, {"store": CONTENT["ood"], "ood": CONTENT["store"]}) != OWN


def test_the_order_of_keys_does_not_matter_and_nothing_is_changed():
    turned = {
        key: dict(reversed(list(value.items()))) if isinstance(value, dict) else value
        for key, value in reversed(list(CONFIG.items()))
    }
    before = copy.deepcopy(CONFIG)
    assert fingerprint(turned, dict(reversed(list(CONTENT.items())))) == OWN
    assert before == CONFIG
    assert re.fullmatch("[0-9a-f]{64}", OWN)


@pytest.fixture
def at(tmp_path):
    """claim() in a folder of the test's own."""

    @contextmanager
    def claimed(
        config: dict[str, Any] = CONFIG, *, force: bool = False, directory: str | None = None
    ) -> Iterator[RunFolder]:
        where = str(tmp_path / "run") if directory is None else directory
        with claim(config, CONTENT, directory=where, root=tmp_path / "root", force=force) as run:
            yield run

    return claimed


def result(run: RunFolder, status: str = "finished", **more: Any) -> Result:
    return Result(run.name, "gru", "mse", "npz", status, 0, run.fingerprint, 1.5, **more)  # type: ignore[arg-type]


def checkpoint(run: RunFolder) -> None:
    run.checkpoints.mkdir()
    run.last.write_bytes(b"weights")


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file() and f.name != ".lock"}


def test_a_run_is_new_then_resumed_then_finished(at):
    with at() as run:
        assert run.state == "new"
        assert run.fingerprint == OWN
        checkpoint(run)
    with at() as run:
        assert run.state == "resume"
        assert run.last.read_bytes() == b"weights"
        written = result(run, notes=["a note"], five_cat={"passed": 3, "required": 5, "verdict": "fail"})
        run.finish(written)
    with at() as run:
        assert run.state == "finished"
        assert run.result() == written


def test_a_run_without_a_last_checkpoint_starts_over(at):
    with at() as run:
        run.append_history({"epoch": 0})
        run.checkpoints.mkdir()
        (run.checkpoints / "best.ckpt").write_bytes(b"old")
    with at() as run:
        assert run.state == "new"
        assert list(files(run.path)) == ["config.yaml"]


def test_the_config_is_recorded_once_with_its_identity(at):
    with at() as run:
        saved = yaml.safe_load((run.path / "config.yaml").read_text())
        identity = saved.pop("identity")
        assert saved == CONFIG
        assert identity["fingerprint"] == OWN
        assert identity["content"] == CONTENT
        assert set(identity) == {"fingerprint", "content", "left_out", "version", "commit"}
        checkpoint(run)
    before = (run.path / "config.yaml").stat().st_mtime_ns
    with at(changed("device.devices", 4)) as run:
        assert run.state == "resume"
        assert (run.path / "config.yaml").stat().st_mtime_ns == before


def test_the_folder_is_named_after_the_run(tmp_path):
    with claim(CONFIG, CONTENT, directory=None, root=tmp_path / "outputs", force=False) as run:
        assert run.path == tmp_path / "outputs" / f"gru-mse-npz-{OWN[:8]}"


def test_another_config_is_refused_and_nothing_is_touched(at):
    with at() as run:
        checkpoint(run)
    before = files(run.path)
    with (
        pytest.raises(UserError, match=f"holds a run of another config .fingerprint {OWN[:8]}.*run.force=true"),
        at(changed("seed", 1)),
    ):
        pass
    assert files(run.path) == before


@pytest.mark.parametrize("config", [CONFIG, changed("seed", 1)], ids=["same config", "other config"])
def test_force_starts_over(at, config):
    with at() as run:
        checkpoint(run)
        run.append_history({"epoch": 0})
        run.finish(result(run))
    with at(config, force=True) as run:
        assert run.state == "new"
        assert list(files(run.path)) == ["config.yaml"]
        saved = yaml.safe_load((run.path / "config.yaml").read_text())
        assert saved["identity"]["fingerprint"] == run.fingerprint == fingerprint(config, CONTENT)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["thesis.txt", "config.yaml", "deep/notes.txt"])
@pytest.mark.parametrize("text", ["mine: 1\n", "identity: 3\n", "{unclosed", "\u0000"])
def test_a_folder_that_is_no_runs_is_refused_and_untouched(at, tmp_path, force, name, text):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with (
        pytest.raises(UserError, match=r"is not a run's folder and is not empty; choose another run.dir"),
        at(force=force),
    ):
        pass
    assert [f for f in (tmp_path / "run").rglob("*") if f.is_file()] == [file]
    assert file.read_text() == text


def test_a_file_in_the_folders_place_is_refused(at, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UserError, match=r"choose another run.dir"), at():
        pass
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_is_taken(at, tmp_path):
    (tmp_path / "run").mkdir()
    with at() as run:
        assert run.state == "new"


def hold(path: str, held: Any, release: Any) -> None:
    with claim(CONFIG, CONTENT, directory=path, root=Path(path), force=False):
        held.set()
        release.wait(20)


def test_a_second_process_is_refused_until_the_first_is_done(at, tmp_path):
    fresh = multiprocessing.get_context("fork")
    held, release = fresh.Event(), fresh.Event()
    other = fresh.Process(target=hold, args=(str(tmp_path / "run"), held, release))
    other.start()
    try:
        assert held.wait(20)
        before = files(tmp_path / "run")
        for force in (False, True):
            with pytest.raises(UserError, match=r"another process is working on .*; wait for it"), at(force=force):
                pass
        assert files(tmp_path / "run") == before
    finally:
        release.set()
        other.join(20)
    assert other.exitcode == 0
    with at() as run:
        assert run.state == "new"


def test_the_lock_is_given_back_however_the_work_ends(at):
    with at() as run:
        checkpoint(run)
    with pytest.raises(KeyboardInterrupt), at():
        raise KeyboardInterrupt
    assert not (run.path / "result.json").exists()
    with at() as run:
        assert run.state == "resume"


def test_a_failed_run_is_tried_again_from_nothing(at):
    with at() as run:
        checkpoint(run)
        run.append_history({"epoch": 0})
        run.finish(result(run, "failed", error="ValueError: no"))
    with at() as run:
        assert run.state == "new"
        assert list(files(run.path)) == ["config.yaml"]


def test_a_diverged_run_is_finished(at):
    with at() as run:
        checkpoint(run)
        run.finish(result(run, "diverged"))
    with at() as run:
        assert run.state == "finished"
        assert run.result().status == "diverged"


def test_a_users_mistake_leaves_no_folder_and_no_work_is_lost(at, tmp_path):
    with pytest.raises(UserError, match="the data gate"), at(directory=str(tmp_path / "a" / "b")):
        raise UserError("the data gate failed.")
    assert not (tmp_path / "a").exists()
    with at() as run:
        checkpoint(run)
    before = files(run.path)
    with pytest.raises(UserError, match="the data gate"), at():
        raise UserError("the data gate failed.")
    assert files(run.path) == before


def test_other_processes_of_a_run_take_what_the_first_decided(at, monkeypatch):
    with at() as first:
        checkpoint(first)
        before = files(first.path)
        monkeypatch.setenv("LOCAL_RANK", "1")
        with at() as run:
            assert run.state == "resume"
        assert files(first.path) == before


def test_history_is_cut_to_the_checkpoint_and_its_torn_line_is_dropped(at):
    with at() as run:
        assert run.read_history() == []
        rows = [{"epoch": e, "val/loss": 1 / (e + 1)} for e in range(4)]
        for row in rows:
            run.append_history(row)
        assert run.read_history() == rows
        with open(run.history, "a") as file:
            file.write('{"epoch": 4, "val/lo')
        run.cut_history(3)
        assert run.read_history() == rows[:3]
        assert run.history.read_text().endswith("\n")
        run.append_history({"epoch": 3})
        assert [row["epoch"] for row in run.read_history()] == [0, 1, 2, 3]


def test_cutting_no_history_is_no_mistake(at):
    with at() as run:
        run.cut_history(2)
        assert run.read_history() == []


def test_a_torn_line_alone_is_mended(at):
    with at() as run:
        run.append_history({"epoch": 0})
        whole = run.history.read_text()
        for torn in ("{", '{"epoch"', '{"epoch": 1', "nul", "[]", "3"):
            run.history.write_text(whole + torn)
            run.cut_history(5)
            assert run.history.read_text() == whole, torn


def test_a_result_without_numbers_json_has_is_never_written(at):
    with at() as run:
        with pytest.raises(ValueError, match="JSON"):
            run.finish(result(run, val={"cos": float("nan")}))
        assert list(files(run.path)) == ["config.yaml"]
        run.finish(result(run))
        assert json.loads((run.path / "result.json").read_text())["fingerprint"] == OWN


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "x.json"
    write_atomically(file, "one")
    write_atomically(file, "two")
    assert file.read_text() == "two"

    def broken(*_):
        raise OSError("disk full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, broken)
            with pytest.raises(OSError, match="disk full"):
                write_atomically(file, "three")
        assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"x.json": "two"}


def test_the_commit_is_a_hash_or_nothing():
    found = commit()
    assert found is None or re.fullmatch("[0-9a-f]{40}", found)


def test_the_labs_callbacks_are_no_part_of_a_run_and_a_users_own_are():
    ours = {"history": {"_target_": "lvm_lab.training.callbacks.history.History"}, "off": None}
    assert fingerprint(CONFIG | {"callbacks": ours}, CONTENT) == OWN
    own = {"_target_": "mine.noise.Noise", "std": 0.1}
    noisy = fingerprint(CONFIG | {"callbacks": ours | {"noise": own}}, CONTENT)
    assert noisy != OWN
    # By class and arguments: neither its name in the config nor its module counts.
    moved = own | {"_target_": "theirs.Noise"}
    assert fingerprint(CONFIG | {"callbacks": {"other": moved}}, CONTENT) == noisy
    assert fingerprint(CONFIG | {"callbacks": {"noise": own | {"std": 0.2}}}, CONTENT) not in (OWN, noisy)


def test_an_option_that_older_configs_lack_changes_no_fingerprint_at_its_default(monkeypatch):
    monkeypatch.setattr(identity, "ADDED", {"trainer.ema": None, "windows": "sliding", "head.deep.er": 1})
    assert fingerprint(CONFIG, CONTENT) == OWN
    same = changed("trainer.ema", None) | {"windows": "sliding"}
    assert fingerprint(same, CONTENT) == OWN
    assert identity.computing(same) == identity.computing(CONFIG)
    assert fingerprint(changed("trainer.ema", 0.9), CONTENT) != OWN
    assert fingerprint(CONFIG | {"windows": "documents"}, CONTENT) != OWN


@pytest.mark.parametrize("setting", ["init_from", "continue_from"])
def test_weights_to_begin_with_enter_by_their_content_alone(setting: str) -> None:
    def given(path: str | None) -> dict[str, Any]:
        return CONFIG | {"trainer": CONFIG.get("trainer", {}) | {setting: path}}

    here, there = given("a/run"), given("/elsewhere/best.ckpt")
    assert computing(given(None)) == computing(CONFIG)
    assert computing(here) == computing(there) != computing(CONFIG)
    content = CONTENT | {setting: "c" * 64}
    assert fingerprint(here, content) == fingerprint(there, content)
    assert fingerprint(here, content) != fingerprint(here, CONTENT | {setting: "d" * 64})
    # The weights may have changed under the same name, and VAL is what it was without them.
    bare = {"data": CONFIG["data"] | {"path": None, "ood_path": None}}
    assert (reads_files(here | bare), reads_files(given(None) | bare)) == (True, False)
    assert ground(here, content) == ground(CONFIG, CONTENT)


def test_a_failed_start_keeps_its_lock_until_the_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it would hold a file without a name, and a third process would work beside him."""
    run, held, unlink = tmp_path / "run", [], os.unlink

    def unlinking(path: Any, **named: Any) -> None:
        if Path(path) == run / ".lock":
            held.append(locked(run))
        unlink(path, **named)

    monkeypatch.setattr(os, "unlink", unlinking)
    with (
        pytest.raises(UserError, match="no such thing"),
        claim(CONFIG, CONTENT, directory=str(run), root=tmp_path, force=False),
    ):
        raise UserError("no such thing.")
    assert held == [True]
    assert not run.exists()


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
def test_a_folder_that_a_failed_start_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    """Between two steps of taking its lock."""
    run, acquire = tmp_path / "run", FileLock.acquire

    def acquiring(lock: FileLock, **named: Any) -> None:
        monkeypatch.setattr(FileLock, "acquire", acquire)
        run.rmdir()
        raise error(str(run))

    monkeypatch.setattr(FileLock, "acquire", acquiring)
    with claim(CONFIG, CONTENT, directory=str(run), root=tmp_path, force=False) as claimed:
        assert claimed.state == "new"
        assert locked(run)


def test_no_folder_is_waited_for_where_it_can_never_be(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with (
        pytest.raises(FileExistsError),
        claim(CONFIG, CONTENT, directory=str(tmp_path / "run"), root=tmp_path, force=False),
    ):
        pass
