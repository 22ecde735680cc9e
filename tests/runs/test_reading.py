"""One reader of a run's folder: what is there, what is damaged and why, and which checkpoint a folder means."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from rich.console import Console

from helpers import run_files
from lvm_lab.build import members
from lvm_lab.errors import UserError
from lvm_lab.reporting import status
from lvm_lab.reporting.board import write as report
from lvm_lab.runs import reading, selecting
from lvm_lab.runs.folder import claim
from lvm_lab.runs.identity import fingerprint
from lvm_lab.sweeps import leaderboard

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
CHECKPOINT = "checkpoints/best_5cat.ckpt"
BINARY = b"\x93NUMPY\x00\xff\xfe"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_files.write_run(tmp_path / "sweep" / "run")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def named(checkpoint: str) -> tuple[str, Callable[[Path], object], str]:
    """A result that names this for its checkpoint, which would be read as another run's model."""

    def spoil(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"checkpoint": checkpoint}))

    reason = f"checkpoint is {checkpoint!r}, not the name of a file in checkpoints"
    return "result.json", spoil, f"is no result of lvm_lab ({reason})"


def number(text: str, value: str) -> tuple[str, Callable[[Path], object], str]:
    """A result with this for its seconds."""

    def spoil(file: Path) -> None:
        file.write_text(file.read_text().replace('"seconds": 61.5', f'"seconds": {text}'))

    return "result.json", spoil, f"is no result of lvm_lab (seconds is {value}, not a number)"


# What is done to a file of a finished run, and what its damage says.
DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no config": ("config.yaml", Path.unlink, "is missing"),
    "empty config": ("config.yaml", lambda f: f.write_text(""), "is no config of lvm_lab"),
    "binary config": ("config.yaml", lambda f: f.write_bytes(BINARY), "cannot be read (UnicodeDecodeError)"),
    "torn config": ("config.yaml", lambda f: f.write_text("arch: {name: gru\n"), "cannot be read (ParserError)"),
    "list for a config": ("config.yaml", lambda f: f.write_text("[1]"), "is no config of lvm_lab"),
    "wrong group": ("config.yaml", lambda f: f.write_text("data: 3"), "is no config of lvm_lab (data is no mapping)"),
    "wrong keys": ("config.yaml", lambda f: f.write_text("3: 4"), "is no config of lvm_lab"),
    "empty result": ("result.json", lambda f: f.write_text(""), "cannot be read (JSONDecodeError)"),
    "torn result": ("result.json", truncated, "cannot be read (JSONDecodeError)"),
    "binary result": ("result.json", lambda f: f.write_bytes(BINARY), "cannot be read (UnicodeDecodeError)"),
    "list for a result": ("result.json", lambda f: f.write_text("[]"), "is no result of lvm_lab (it holds no mapping)"),
    "path up": named("../../good/checkpoints/best_5cat.ckpt"),
    "path down": named("deeper/best_5cat.ckpt"),
    "absolute path": named("/best_5cat.ckpt"),
    "path of another system": named("..\\best_5cat.ckpt"),
    "folder itself": named("."),
    "no name": named(""),
    "infinite": number("Infinity", "inf"),
    "negative infinite": number("-Infinity", "-inf"),
    "no number": number("NaN", "nan"),
    "no history": ("history.jsonl", Path.unlink, "has 0 of 6 epochs"),
    "empty history": ("history.jsonl", lambda f: f.write_text(""), "has 0 of 6 epochs"),
    "torn history": ("history.jsonl", truncated, "has 3 of 6 epochs"),
    "binary history": ("history.jsonl", lambda f: f.write_bytes(BINARY), "cannot be read (UnicodeDecodeError)"),
    "a hole in it": (
        "history.jsonl",
        lambda f: f.write_text('{"epoch": 0}\n[]\n{}\n'),
        "cannot be read from line 2 on",
    ),
    "no checkpoint": (CHECKPOINT, Path.unlink, "is missing"),
    "empty checkpoint": (CHECKPOINT, lambda f: f.write_bytes(b""), "is no whole checkpoint"),
    "torn checkpoint": (CHECKPOINT, truncated, "is no whole checkpoint"),
    "binary checkpoint": (CHECKPOINT, lambda f: f.write_bytes(BINARY * 100), "is no whole checkpoint"),
    "folder for a checkpoint": (CHECKPOINT, lambda f: (f.unlink(), f.mkdir()), "is no file"),
    "no pickle": (CHECKPOINT, lambda f: zipfile.ZipFile(f, "w").close(), "is no checkpoint of lvm_lab"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_a_value_and_breaks_no_reader(damage: str, folder: Path, tmp_path: Path) -> None:
    name, spoil, reason = DAMAGES[damage]
    run_files.write_ranked(tmp_path / "sweep" / "good", 0.2)
    spoil(folder / name)
    run = reading.read(folder)
    assert run.status == "damaged"
    assert run.damage == reading.Damage(folder / name, reason)
    entries = leaderboard.read(folder.parent)
    assert {e.name: e.status for e in entries} == {"good": "finished", "run": "damaged"}
    assert next(e.error for e in entries if e.name == "run") == f"{name} {reason}"
    assert [e.name for e in leaderboard.ranked(entries, gated=False)] == ["good"]
    report.write(folder.parent, tmp_path / "page")
    assert reason.partition(" (")[0] in (tmp_path / "page" / "leaderboard.csv").read_text()
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    status.show(entries, console)
    assert "1 finished, 1 damaged" in console.export_text()


def test_what_can_be_read_of_a_damaged_run_is_there(folder: Path) -> None:
    (folder / "history.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\nrubbish\n{"epoch": 3}\n')
    run = reading.read(folder)
    assert [row["epoch"] for row in run.history] == [0, 1]
    assert run.result == run_files.result()
    assert run.outcome == "finished"


def test_a_run_is_missing_started_running_and_then_what_its_result_says(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert reading.read(folder).status == "missing"
    run_files.write(folder, run_files.config(), [{"epoch": 0}], None)
    with open(folder / "history.jsonl", "a") as file:
        file.write('{"epoch": 1, "va')
    assert reading.read(folder).status == "started"
    with FileLock(folder / ".lock"):
        assert reading.read(folder).status == "running"
    assert reading.read(folder).history == [{"epoch": 0}]
    run_files.write_ranked(tmp_path / "done", 0.2)
    assert reading.read(tmp_path / "done").status == "finished"


def test_a_folder_of_schema_1_is_read_as_one_of_schema_2() -> None:
    (folder,) = (SCHEMA1 / "outputs").iterdir()
    run = reading.read(folder)
    assert (run.status, run.damage) == ("finished", None)
    assert run.config["data"]["_target_"] == "lvm_lab.data.sources.planted.PlantedWorld"
    assert run.checkpoint == folder / "checkpoints" / "best_5cat.ckpt"
    assert run.identity.content


# One rule for evaluate, diagnose and ensembles: what a folder means.
REFUSED = {
    "diverged": "diverged and has no checkpoint to judge; leave it out, or name one of its files",
    "failed": "failed and has no checkpoint to judge; leave it out, or name one of its files",
    "started": "is not finished; train it to its end, or name one of its checkpoints",
    "torn": "result.json cannot be read .JSONDecodeError.; delete it and give the training's command again, which goes",
    "lost": "best_5cat.ckpt is missing; give the training's command again with run.force=true",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_without_a_model_is_refused_alike_and_its_files_are_taken(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    if name in ("diverged", "failed"):
        run_files.write_run(folder, run_files.without_model(name))  # type: ignore[arg-type]
    elif name == "started":
        run_files.write(folder, run_files.config(), [], None)
    else:
        run_files.write_run(folder)
    if name == "torn":
        truncated(folder / "result.json")
    if name == "lost":
        (folder / "checkpoints" / "best_5cat.ckpt").unlink()
    best = folder / "checkpoints" / "best.ckpt"
    best.touch()
    found, skipped = selecting.find([str(folder)])
    assert found == []
    assert re.search(REFUSED[name], skipped[str(folder)])
    with pytest.raises(UserError, match=REFUSED[name]):
        members._file(str(folder))
    assert [one.file for one in selecting.find([str(best)])[0]] == [best]
    assert members._file(str(best)) == best


def test_a_finished_folder_means_the_checkpoint_of_its_numbers(folder: Path) -> None:
    (folder / "checkpoints" / "best.ckpt").touch()
    (found,) = selecting.find([str(folder)])[0]
    assert found.file == members._file(folder) == folder / "checkpoints" / "best_5cat.ckpt"
    (folder / "history.jsonl").unlink()
    # A history that is lost costs no model.
    assert reading.checkpoint_of(folder) == found.file


def test_a_damaged_result_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    settings = run_files.SETTINGS
    own = fingerprint(settings, {})
    folder = run_files.write_run(tmp_path / "run", settings={"identity": {"fingerprint": own, "content": {}}})
    truncated(folder / "result.json")
    before = sorted(p.name for p in folder.rglob("*"))
    claimed = {"directory": str(folder), "root": tmp_path}
    with (
        pytest.raises(UserError, match=r"result.json cannot be read .*; delete it and give the training"),
        claim(settings, {}, **claimed, force=False),  # type: ignore[arg-type]
    ):
        pass
    assert sorted(p.name for p in folder.rglob("*")) == before
    with claim(settings, {}, **claimed, force=True) as run:  # type: ignore[arg-type]
        assert run.state == "new"
    assert yaml.safe_load((folder / "config.yaml").read_text())["identity"]["fingerprint"] == own


def test_reading_writes_nothing(folder: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    reading.read(folder)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert json.loads((folder / "result.json").read_text())["schema"] == 2
