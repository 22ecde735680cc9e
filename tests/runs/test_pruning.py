"""`prune` frees what nothing needs, and nothing else."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from helpers.commands import ENVIRONMENT, TINY, call, tree
from helpers.run_files import config, result, without_model, write, write_checkpoint, write_ranked, write_table
from lvm_lab import evaluate, report
from lvm_lab import prune as command
from lvm_lab.runs import pruning, reading
from lvm_lab.runs.result import Outcome
from lvm_lab.runs.written import RESOLVED

ALL = ("best.ckpt", "best_5cat.ckpt", "epoch=04.ckpt", "last.ckpt", "top-epoch=03.ckpt")


def fill(folder: Path, names: tuple[str, ...] = ALL) -> Path:
    """Checkpoints of 1,000 bytes each, no two alike."""
    for name in names:
        file = folder / "checkpoints" / name
        write_checkpoint(file)
        write_checkpoint(file, f"{folder} {name}".encode().ljust(1000 - file.stat().st_size, b"."))
    return folder


def finished(folder: Path, seed: int = 0, **settings: object) -> Path:
    """A finished run whose result is of best_5cat.ckpt."""
    write_ranked(folder, seed=seed, **settings)
    return fill(folder)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """multirun/sweep with two finished runs, in the folder where commands are given."""
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        finished(tmp_path / "multirun" / "sweep" / f"r{seed}", seed)
    return Path("multirun/sweep")


def there(run: Path) -> list[str]:
    return sorted(file.name for file in (run / "checkpoints").iterdir())


def test_it_removes_what_is_not_kept_and_says_what_it_frees(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([str(sweep), "--keep", "last", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "6 checkpoints of 2 of 2 runs may go: 6.0 kB" in said
    assert said.endswith("freed 6.0 kB\n")
    for run in ("r0", "r1"):
        assert there(sweep / run) == ["best_5cat.ckpt", "last.ckpt"]
        read = reading.read(sweep / run)
        assert (read.status, read.damage, read.judged_checkpoint().name) == ("finished", None, "best_5cat.ckpt")
    assert report.main([str(sweep)]) == 0
    capsys.readouterr()
    assert command.main([str(sweep), "--keep", "last", "--yes"]) == 0
    assert "0 checkpoints of 0 of 2 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("best,last", ["best.ckpt", "best_5cat.ckpt", "last.ckpt"]),
        ("none", ["best_5cat.ckpt"]),
        ("epochs, top", ["best_5cat.ckpt", "epoch=04.ckpt", "top-epoch=03.ckpt"]),
        ("best_5cat", ["best_5cat.ckpt"]),
    ],
)
def test_each_kind_can_be_kept(sweep: Path, keep: str, left: list[str]) -> None:
    assert command.main([str(sweep / "r0"), "--keep", keep, "--yes"]) == 0
    assert there(sweep / "r0") == left
    assert there(sweep / "r1") == list(ALL)


def test_without_a_terminal_it_only_shows(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(Path())
    assert command.main([str(sweep)]) == 0
    assert capsys.readouterr().out.endswith("nothing was removed; --yes removes them\n")
    assert tree(Path()) == before


@pytest.mark.parametrize(("answer", "removes"), [("y", True), ("n", False), ("", False), (None, False)])
def test_at_a_terminal_it_asks(sweep: Path, monkeypatch: pytest.MonkeyPatch, answer: str | None, removes: bool) -> None:
    def reply(question: str) -> str:
        assert question == "remove them? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", reply)
    assert command.main([str(sweep)]) == 0
    assert ("epoch=04.ckpt" in there(sweep / "r0")) != removes


def test_what_the_lab_did_not_write_stays(sweep: Path, tmp_path: Path) -> None:
    checkpoints = sweep / "r0" / "checkpoints"
    (checkpoints / "mine.ckpt").write_text("a user's")
    (checkpoints / "notes.txt").write_text("a user's")
    (checkpoints / "epoch=07.ckpt").mkdir()
    (tmp_path / "elsewhere.ckpt").write_text("a user's")
    (checkpoints / "top-epoch=09.ckpt").symlink_to(tmp_path / "elsewhere.ckpt")
    os.mkfifo(checkpoints / "epoch=08.ckpt")
    # A folder that another tool calls a run's, one behind a link, and checkpoints behind a link.
    strange = sweep / "strange"
    (strange / "checkpoints").mkdir(parents=True)
    (strange / "config.yaml").write_text("model: theirs\n")
    fill(strange)
    finished(tmp_path / "outside" / "far", 5)
    (sweep / "far").symlink_to(tmp_path / "outside" / "far")
    (sweep / "r1" / "checkpoints").rename(tmp_path / "moved")
    (sweep / "r1" / "checkpoints").symlink_to(tmp_path / "moved")
    assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    mine = {"mine.ckpt", "notes.txt", "epoch=07.ckpt", "epoch=08.ckpt", "top-epoch=09.ckpt"}
    assert set(there(sweep / "r0")) == mine | {"best_5cat.ckpt"}
    assert (tmp_path / "elsewhere.ckpt").read_text() == "a user's"
    for run in (strange, tmp_path / "outside" / "far", sweep / "r1"):
        assert there(run) == list(ALL)


def test_runs_that_are_not_at_their_end_stay_whole(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started = fill(write(sweep / "started", config(seed=3), [], None))
    failed = fill(write(sweep / "failed", config(seed=4), [], without_model("failed", epochs=0)))
    torn = finished(sweep / "torn", 6)
    (torn / "result.json").write_text("{")
    lost = finished(sweep / "lost", 7)
    (lost / "checkpoints" / "best_5cat.ckpt").unlink()
    diverged = fill(write(sweep / "diverged", config(seed=5), [], without_model("diverged", epochs=0)))
    with open(sweep / "r1" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    for run in (started, failed, torn, sweep / "r1"):
        assert there(run) == list(ALL)
    assert "best.ckpt" in there(lost)
    assert there(diverged) == ["best_5cat.ckpt"]
    said = capsys.readouterr().out
    assert "everything: a process is at work in it" in said
    assert "everything: started: not at its end" in said


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:500])


def overwritten(file: Path) -> None:
    """Zeros in the middle of the weights; the list of contents at the end is whole."""
    content = file.read_bytes()
    file.write_bytes(content.replace(b"." * 100, bytes(100)))


TORN: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(bytes(1000)),
    "random": lambda file: file.write_bytes(random.Random(0).randbytes(1000)),
    "half": half,
    "overwritten": overwritten,
    "another zip file": lambda file: zipfile.ZipFile(file, "w").close(),
    "folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize(
    ("status", "torn"),
    # Where no result names a folder, the next best file is the one that stays.
    [("finished", torn) for torn in TORN] + [("diverged", torn) for torn in TORN if torn != "folder"],
)
def test_where_the_results_checkpoint_is_torn_everything_stays(
    sweep: Path, capsys: pytest.CaptureFixture[str], torn: str, status: Outcome
) -> None:
    run = sweep / "r0"
    if status == "diverged":
        run = fill(write(sweep / "diverged", config(seed=5), [], without_model("diverged", epochs=0)))
    TORN[torn](run / "checkpoints" / "best_5cat.ckpt")
    assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    assert there(run) == list(ALL)
    assert "everything: damaged: best_5cat.ckpt" in capsys.readouterr().out
    assert there(sweep / "r1") == ["best_5cat.ckpt"]


def test_a_run_that_is_taken_up_meanwhile_is_left(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares, known = pruning.plan(sweep, [])
    (sweep / "r0" / "result.json").unlink()
    with open(sweep / "r1" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        freed, left = pruning.remove(shares, [], known)
    assert freed == 0
    assert [one.untouched for one in left] == ["no more at its end", "a process is at work in it"]
    assert there(sweep / "r0") == there(sweep / "r1") == list(ALL)


def ensemble(folder: Path, members: list[str], digests: list[str]) -> Path:
    """A finished ensemble of these members."""
    content = {"planted": "c" * 64} | {f"member_{i}": digest for i, digest in enumerate(digests)}
    identity = {"fingerprint": "e" * 64, "content": content}
    write_ranked(folder, arch="ensemble", identity=identity)
    read = yaml.safe_load((folder / "config.yaml").read_text())
    read["arch"]["members"] = members
    (folder / "config.yaml").write_text(yaml.safe_dump(read))
    return folder


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("place", ["multirun/sweep/team", "outputs/team", "multirun/other/team", "far/off/team"])
@pytest.mark.parametrize("by", ["path", "content"])
def test_what_an_ensemble_uses_stays(sweep: Path, place: str, by: str) -> None:
    member = sweep / "r0" / "checkpoints" / "epoch=04.ckpt"
    members = [str(member)] if by == "path" else ["/once/upon/a/time/epoch=04.ckpt"]
    ensemble(Path(place), members, ["0" * 64 if by == "path" else digest(member)])
    also = ["--also", "far"] if place.startswith("far") else []
    assert command.main([str(sweep), "--keep", "none", "--yes", *also]) == 0
    assert there(sweep / "r0") == ["best_5cat.ckpt", "epoch=04.ckpt"]
    assert there(sweep / "r1") == ["best_5cat.ckpt"]


def test_what_an_unfinished_ensemble_or_a_row_that_is_not_begun_will_use_stays(sweep: Path) -> None:
    team = ensemble(sweep / "team", [str((sweep / "r0" / "checkpoints" / "last.ckpt").resolve())], ["0" * 64])
    (team / "result.json").unlink()
    write_table(sweep, ["r0", "r1", "next"])
    table = yaml.safe_load((sweep / "schedule.yaml").read_text())
    table["rows"][2]["overrides"] = ["arch=ensemble", "arch.members=['multirun/sweep/r1/checkpoints/best.ckpt']"]
    (sweep / "schedule.yaml").write_text(yaml.safe_dump(table))
    settled = {"later": {"of": ["r0"], "overrides": ["trainer.init_from=multirun/sweep/r1/checkpoints/epoch=04.ckpt"]}}
    (sweep / RESOLVED).write_text(yaml.safe_dump(settled))
    assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    assert there(sweep / "r0") == ["best_5cat.ckpt", "last.ckpt"]
    assert there(sweep / "r1") == ["best.ckpt", "best_5cat.ckpt", "epoch=04.ckpt"]


@pytest.mark.parametrize("key", ["init_from", "continue_from"])
def test_what_a_training_began_with_stays(sweep: Path, key: str) -> None:
    origin = str(sweep / "r0") if key == "continue_from" else str(sweep / "r0" / "checkpoints" / "last.ckpt")
    write_ranked(Path("outputs/child"), trainer={"max_epochs": 4, key: origin}, seed=8)
    assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    assert there(sweep / "r0") == (list(ALL) if key == "continue_from" else ["best_5cat.ckpt", "last.ckpt"])
    assert there(sweep / "r1") == ["best_5cat.ckpt"]


@pytest.mark.parametrize("form", ["link to a file", "link to a run", "json", "relative json", "text", "digest", "yaml"])
@pytest.mark.parametrize("where", ["registry", "given"])
def test_what_a_registry_points_at_stays(sweep: Path, form: str, where: str) -> None:
    file = (sweep / "r0" / "checkpoints" / "epoch=04.ckpt").resolve()
    place = Path("registry" if where == "registry" else "store/of/registry") / "chat"
    place.mkdir(parents=True)
    record = place / "production"
    if form.startswith("link"):
        record.symlink_to(file if form.endswith("file") else file.parent.parent)
    elif form == "text":
        record.write_text(f"{file}\n")
    elif form == "digest":
        record.write_text(json.dumps({"sha256": digest(file)}))
    elif form == "yaml":
        record.write_text(f"versions:\n- checkpoint: {file}\n")
    else:
        path = str(file) if form == "json" else os.path.relpath(file, place)
        record.write_text(json.dumps({"versions": [{"checkpoint": path}]}))
    (place / "weights.bin").write_bytes(bytes(2 << 20))
    also = [] if where == "registry" else ["--also", "store/of/registry"]
    assert command.main([str(sweep), "--keep", "none", "--yes", *also]) == 0
    assert there(sweep / "r0") == (list(ALL) if form == "link to a run" else ["best_5cat.ckpt", "epoch=04.ckpt"])
    assert there(sweep / "r1") == ["best_5cat.ckpt"]


def test_a_file_with_a_second_name_frees_nothing(sweep: Path) -> None:
    os.link(sweep / "r0" / "checkpoints" / "last.ckpt", "kept.ckpt")
    shares, _ = pruning.plan(sweep / "r0", ["best", "epochs", "top"])
    assert [(share.bytes, len(share.removable)) for share in shares] == [(0, 1)]


KILLED = """
import os, signal, sys
from pathlib import Path
from lvm_lab import prune
plain = Path.unlink
count = 0
def unlink(self, *arguments, **more):
    global count
    if self.suffix == ".ckpt":
        count += 1
        if count == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    plain(self, *arguments, **more)
Path.unlink = unlink
prune.main(["multirun/sweep", "--keep", "none", "--yes"])
"""


def test_killed_half_way_every_run_can_be_read(sweep: Path) -> None:
    environment = os.environ | ENVIRONMENT
    done = subprocess.run([sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(there(sweep / "r0")) == len(ALL) - 1
    for run in ("r0", "r1"):
        read = reading.read(sweep / run)
        assert (read.status, read.damage, read.judged_checkpoint().name) == ("finished", None, "best_5cat.ckpt")
    assert command.main([str(sweep), "--keep", "none", "--yes"]) == 0
    assert there(sweep / "r0") == there(sweep / "r1") == ["best_5cat.ckpt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone"], "gone is no folder"),
        (["multirun/sweep/r0/config.yaml"], "is no folder"),
        (["empty"], "empty holds no folder of a run"),
        (["link"], "link is a link, and links are not followed here"),
        (["multirun/sweep", "--keep", "bset"], "--keep bset is no kind of checkpoint; name some of best, best_5cat"),
        (["multirun/sweep", "--keep", ","], "--keep names nothing"),
        (["multirun/sweep", "--also", "gone"], "gone is no folder"),
    ],
)
def test_a_mistake_is_one_sentence(
    sweep: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("multirun")
    before = tree(Path())
    assert command.main([*arguments, "--yes"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert tree(Path()) == before


@pytest.mark.slow
def test_evaluate_and_the_same_command_go_on_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training = (*TINY, "trainer.max_epochs=1", "run.dir=outputs/gru", "run.cache=cache")
    assert call(tmp_path, *training).code == 0
    before = there(Path("outputs/gru"))
    assert command.main(["outputs", "--keep", "none", "--yes"]) == 0
    (left,) = there(Path("outputs/gru"))
    assert left in before
    assert len(before) > 1
    again = call(tmp_path, *training)
    assert (again.code, again.err) == (0, "")
    assert "finished" in again.out
    refused = call(tmp_path, *training, "seed=1")
    assert refused.code == 2
    options = ("5cat=off", "5cat.baselines=cheap", "parts=[val]", "cache=cache", "device=cpu", "device.threads=1")
    judged = call(tmp_path, "outputs/gru", *options, main=evaluate.main)
    assert judged.code == 0, judged.err


def test_a_result_of_another_checkpoint_keeps_that_one(sweep: Path) -> None:
    run = write(sweep / "r2", config(seed=9), [], result(checkpoint="best.ckpt", epochs=0))
    fill(run)
    assert command.main([str(run), "--keep", "none", "--yes"]) == 0
    assert there(run) == ["best.ckpt"]
