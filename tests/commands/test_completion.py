"""What a shell offers behind <TAB>: asked of a real bash, and of the function that answers it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT
from lvm_lab.commands import doors
from lvm_lab.commands.completing import replies, script, split

BREAKS = " \t\n\"'><=;|&(:"
# Stands where lvm-lab would on PATH, drives the function as readline does, and prints a reply a line.
DRIVE = """
eval "$(lvm-lab completion bash)"
COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
COMP_WORDS=(${COMP_LINE//=/ = }); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
complete -p lvm-lab lvm-train lvm-evaluate >/dev/null || exit 9
_lvm_lab lvm-lab "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my vectors.npz").touch()
    (tmp_path / "outputs" / "gru").mkdir(parents=True)
    (tmp_path / "own" / "arch").mkdir(parents=True)
    (tmp_path / "own" / "arch" / "zebra.yaml").write_text("name: zebra\nstripes: 3\n")
    return tmp_path


LINES = {
    "lvm-lab prune x --keep be": ["best", "best_5cat"],
    "lvm-lab prune x --keep best,la": ["best,last"],
    "lvm-lab prune x --keep n": ["none"],
    "lvm-lab tr": ["train", "train-decoder"],
    "lvm-lab check": ["check-data"],
    "lvm-lab train arch=gr": ["gru"],
    "lvm-lab train --cfg job arch=gr": ["gru"],
    "lvm-lab train -m arch=gru,ls": ["gru,lstm"],
    "lvm-lab train logger=[wandb,c": ["[wandb,csv"],
    "lvm-lab train arch=gru arch.w": ["arch.width="],
    "lvm-lab train 5cat=str": ["strict"],
    "lvm-lab train 5cat.max": ["5cat.max_windows="],
    "lvm-train trainer.optim.l": ["trainer.optim.lr="],
    "lvm-lab train run.force=": ["false", "true"],
    "lvm-lab train schedule=h": ["hundred"],
    "lvm-lab train --cf": ["--cfg"],
    "lvm-lab train --cfg ": ["all", "hydra", "job"],
    "lvm-lab train --config-dir o": ["outputs/", "own/"],
    "lvm-lab train --config-dir own arch=z": ["zebra"],
    "lvm-lab train --config-dir own arch=zebra arch.s": ["arch.stripes="],
    "lvm-lab train data.path=my": ["my\\ vectors.npz"],
    "lvm-lab train 'data.path=my": ["data.path=my vectors.npz"],
    "lvm-lab check-data my": ["my\\ vectors.npz"],
    "lvm-evaluate outputs/": ["outputs/gru/"],
    "lvm-lab ing": ["ingest"],
    "lvm-lab ingest encoder=hash": ["hashing"],
    "lvm-lab ingest reader=std": ["stdlib"],
    "lvm-lab ingest reader=jsonl reader.pa": ["reader.path="],
    "lvm-lab ingest dry": ["dry_run="],
    "lvm-lab diagnose --al": ["--allow"],
    "lvm-lab diagnose --device c": ["cpu", "cuda"],
    "lvm-lab completion ": ["bash", "fish", "zsh"],
    "lvm-lab nothing ": [],
}


@pytest.mark.parametrize("line", LINES)
def test_replies(folder: Path, line: str) -> None:
    assert replies(line, "bash", BREAKS) == LINES[line]


def test_every_command_is_offered() -> None:
    assert {name.replace("_", "-") for name in doors.summaries()} < set(replies("lvm-lab ", "bash", BREAKS))


def test_other_shells_replace_the_whole_word(folder: Path) -> None:
    assert replies("lvm-lab train data.path=my", "zsh") == ["data.path=my\\ vectors.npz"]
    assert replies("lvm-lab train data.path=my", "fish") == ["data.path=my vectors.npz"]
    for shell in ("zsh", "fish"):
        assert f"lvm-lab completion {shell} --line" in script(shell)


def test_words_are_parted_as_a_shell_does() -> None:
    line = split("lvm-lab train 'a b' c\\ d \"e")
    assert (line.words, line.current, line.raw, line.quote) == (["lvm-lab", "train", "a b", "c d"], "e", '"e', '"')


@pytest.mark.parametrize("line", ["lvm-lab tr", "lvm-lab train arch=gr", "lvm-lab train data.path=my"])
def test_a_real_bash_completes(folder: Path, tmp_path: Path, line: str) -> None:
    scripts = tmp_path / "bin"
    scripts.mkdir()
    lab = scripts / "lvm-lab"
    lab.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lvm_lab "$@"\n')
    lab.chmod(0o755)
    environment = os.environ | ENVIRONMENT | {"PATH": f"{scripts}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", DRIVE, "drive", line], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == LINES[line]


def test_answering_needs_neither_hydra_nor_torch() -> None:
    code = (
        "import sys; sys.argv = ['lvm-lab', 'completion', 'bash', '--line', 'lvm-lab train arch=g']\n"
        "from lvm_lab import __main__\n"
        "try:\n    __main__.main()\n"
        "except SystemExit as leaving:\n    assert not leaving.code\n"
        "assert not {'hydra', 'omegaconf', 'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "arch=gru\n"), done.stderr
