"""The doors, `lvm-lab X`: short, listed with one line each, answering --help without torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lvm_lab
from helpers.commands import ENVIRONMENT
from lvm_lab import __main__ as lister
from lvm_lab.commands import plain
from lvm_lab.config.command import command
from lvm_lab.errors import UserError

PACKAGE = Path(lvm_lab.__file__).parent
DOORS = sorted(lister.summaries())
LONGEST = 40

# Runs every door's --help in one process: (its code, its first line).
HELP_OF_ALL = """
import contextlib, io, runpy, sys
for door in sys.argv[1:]:
    out = io.StringIO()
    sys.argv = [door, "--help"]
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_module(f"lvm_lab.{door}", run_name="__main__", alter_sys=True)
        except SystemExit as leaving:
            assert not leaving.code, (door, leaving.code)
    assert out.getvalue().strip(), door
    for name in ("torch", "pytorch_lightning", "wandb", "matplotlib"):
        assert name not in sys.modules, (door, name)
"""


def answer(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ENVIRONMENT
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_doors_are_the_commands() -> None:
    assert {"train", "evaluate", "check_data", "status", "report"} <= set(DOORS)
    assert not {"types", "errors", "logs", "files", "model"} & set(DOORS)


@pytest.mark.parametrize("door", ["__main__", *DOORS])
def test_a_door_is_short_and_says_what_it_is_for(door: str) -> None:
    source = (PACKAGE / f"{door}.py").read_text()
    assert len(source.splitlines()) <= LONGEST
    first = (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]
    assert len(first.partition(": `")[0]) <= 80
    assert ("`lvm-lab`" if door == "__main__" else command(door)) in first


def test_every_door_helps_without_torch(tmp_path: Path) -> None:
    done = answer("-c", HELP_OF_ALL, *DOORS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_package_lists_its_doors(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["lvm_lab", *arguments])
        assert lister.main() == 0
        lines = capsys.readouterr().out.strip().splitlines()[2:]
        assert [line.split()[0].replace("-", "_") for line in lines] == DOORS
        assert all(len(line.split()) > 3 for line in lines)


def test_an_unknown_door_is_told_with_the_nearest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lvm_lab", "evalute"])
    assert lister.main() == 2
    said = capsys.readouterr().err
    assert said == "error: evalute is no command of lvm_lab (did you mean evaluate?); lvm-lab --help lists them.\n"


def test_a_door_behind_the_package_is_the_door(tmp_path: Path) -> None:
    direct = answer("-m", "lvm_lab.train", "arch=gru", "--cfg", "job", cwd=tmp_path)
    through = answer("-m", "lvm_lab", "train", "arch=gru", "--cfg", "job", cwd=tmp_path)
    assert (through.returncode, through.stdout, through.stderr) == (0, direct.stdout, "")
    for name in ("convert-npz", "convert_npz"):
        assert answer("-m", "lvm_lab", name, "--version", cwd=tmp_path).stdout == "lvm_lab 0.1.0\n"
    refused = answer("-m", "lvm_lab", "status", "nowhere", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: nowhere is no folder")


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("give it a name."), 2, "error: give it a name.\n"),
        (FileNotFoundError(2, "No such file", "x.npz"), 2, "error: x.npz: No such file; mend that.\n"),
        (OSError("the disk is full"), 2, "error: the disk is full; mend that.\n"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(
    error: Exception, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        raise error

    assert plain.answer(body, way_out="mend that.") == code
    assert capsys.readouterr().err == sentence


def test_a_reader_who_has_seen_enough_is_no_mistake(tmp_path: Path) -> None:
    code = "import sys; from lvm_lab.commands.plain import answer; sys.exit(answer(lambda: print('x' * 10**6)))"
    command = ["bash", "-o", "pipefail", "-c", f'{sys.executable} -c "{code}" | true']
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
