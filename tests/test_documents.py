"""README.md, CONTRIBUTING.md and docs/ as a reader types them: each command can be typed and finds its files, and what
takes less than a minute here runs."""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers import documented, shell
from helpers.commands import ENVIRONMENT
from helpers.markdown import DOCUMENTS, ROOT, Block, blocks, commands, inline_commands

NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]
README, *OTHERS = DOCUMENTS
LANGUAGES = {"bash", "python", "yaml", "text"}
# What is run is shrunk by settings behind those that a document names, so that a command takes seconds and not minutes:
# small worlds, one epoch, few windows to judge, narrow models, of a schedule one row.
WORLD = ("data.dim=64", "data.documents=60", "data.ood_documents=20")
TRAINING = ("trainer.max_epochs=1", "trainer.batch_size=64", "device=cpu", "device.threads=1")
JUDGE = ("5cat.max_windows=60", "5cat.eval_windows=60", "5cat.resamples=50", "5cat.baselines=cheap")
WIDTH = "arch.width=32"
WITHOUT_WIDTH = ("arch=linear_metric", "arch=ridge", "arch=ensemble", "recipe=real_text")
ROWS = {"hundred": "w1-gru-256", "production": "gru", "smoke": "gru"}
COMMENT = re.compile(r"\s+#\s.*")


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_block_says_its_language_and_can_be_read(document: Path) -> None:
    for block in blocks(document):
        assert block.language in LANGUAGES, block.place
        if block.language == "yaml":
            yaml.safe_load(block.text)
        if block.language == "python":
            for node in ast.walk(ast.parse(block.text, block.place)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lvm_lab"):
                    module = importlib.import_module(str(node.module))
                    assert all(hasattr(module, alias.name) for alias in node.names), block.place


@pytest.mark.slow
def test_every_command_can_be_typed_and_finds_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of README in one folder, and each other document's in one where README's were given before."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    readme = tmp_path / "README"
    readme.mkdir()
    share_texts(tmp_path)
    wrong = go_through(README, readme, monkeypatch)
    for document in OTHERS:
        folder = tmp_path / document.stem
        shutil.copytree(readme, folder)
        wrong += go_through(document, folder, monkeypatch)
    assert not wrong, "\n" + "\n".join(wrong)


def go_through(document: Path, folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """What is wrong in a document's commands; what they would write is put into the folder."""
    patch.chdir(folder)
    wrong = []
    for block in blocks(document):
        if block.file is not None:
            write(block, folder)
        for line in block.lines() if block.language == "bash" else ():
            if line.startswith("python make_"):
                subprocess.run([sys.executable, *shlex.split(line)[1:]], check=True)
            wrong += mistakes(f"{block.place}: {line}", line, patch, files=block.reason is None)
    for line in inline_commands(document):
        # FOLDER and ... stand for a reader's own; the folder of options would have to be there.
        if "..." not in line and "--config-dir" not in line:
            wrong += mistakes(f"{document.name}: {line}", line, patch, files=False)
    return wrong


def mistakes(place: str, line: str, patch: pytest.MonkeyPatch, files: bool) -> list[str]:
    try:
        documented.check(line, patch, files)
    # What Hydra, OmegaConf and the lab raise at a wrong setting has no class in common.
    except Exception as error:
        return [f"{place}\n  {type(error).__name__}: {error}"]
    return []


def write(block: Block, folder: Path) -> None:
    file = folder / str(block.file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("lvm-lab train arch=gruu", "gruu"),
        ("lvm-lab train arch=gru arch.widht=3", "widht"),
        ("lvm-lab train trainer.max_epochs=few", "trainer.max_epochs='few'"),
        ("lvm-lab train -m arch=gru,lstmm", "lstmm"),
        ("lvm-lab train -m schedule=hundret", "schedule=hundret does not exist"),
        ("lvm-lab train -m schedule=smoke hydra.launcher.n_job=2", "n_job"),
        ("lvm-lab train data=npz data.path=novel.npz", "novel.npz"),
        ("lvm-lab evaluate outputs/nothing", "outputs/nothing"),
        ("lvm-lab evaluate ood=[x.npz]", "brackets"),
        ("lvm-lab predict outputs/nothing x.npz out.npz", "outputs/nothing, x.npz"),
        ("lvm-lab report . --colums x", "cannot be parsed"),
        ("lvm-lab chek-data", "chek-data is no command"),
        ("python -m lvm_lab.train arch=gruu", "gruu"),
        ("python nothing.py", "nothing.py does not exist"),
        ("nox -s nothing", "nothing is no session"),
        ('pip install -e ".[nothing]"', "nothing"),
        ("frobnicate", "frobnicate"),
    ],
)
def test_a_mistake_in_a_document_would_be_seen(
    line: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = mistakes("here", line, monkeypatch, files=True)
    assert len(wrong) == 1
    assert sentence in wrong[0]


def test_what_is_parsed_and_not_run_is_known() -> None:
    """Each has its reason in the document, in a comment before the block."""
    reasons = [(block.document, block.reason) for file in DOCUMENTS for block in blocks(file) if block.reason]
    assert reasons == [
        ("README.md", "installs packages"),
        ("README.md", "installs packages"),
        ("README.md", "belongs to the installation"),
        ("README.md", "installs packages, minutes"),
        ("docs/command-line.md", "lines of shells' own files"),
        ("docs/decoders.md", "installs packages"),
        ("docs/decoders.md", "needs the extra vec2text and its models"),
        ("docs/documents.md", "a batch of more documents than a small world has"),
        ("docs/encoders.md", "needs a store of texts"),
        ("docs/encoders.md", "needs a store of texts"),
        ("docs/encoders.md", "minutes"),
        ("docs/evaluate.md", "vectors of real text, which are not shipped"),
        ("docs/evaluate.md", "needs texts of your own"),
        ("docs/export.md", "minutes on a busy machine, and needs the extra export"),
        ("docs/export.md", "needs onnxruntime, and the graph of the block above"),
        ("docs/export.md", "needs an account and a network"),
        ("docs/generate.md", "needs an endpoint"),
        ("docs/index.md", "vectors of real text, which are not shipped"),
        ("docs/loggers.md", "needs an account"),
        ("docs/loggers.md", "needs an account"),
        ("docs/postgres.md", "needs a server"),
        ("docs/promote.md", "goes back to a version that a second promotion has left behind"),
        ("docs/real_text.md", "hours, and vectors of real text"),
        ("docs/real_text.md", "vectors of real text, which are not shipped"),
        ("docs/reliability.md", "ten minutes"),
        ("docs/report.md", "half an hour, and a browser"),
        ("docs/scale.md", "hours"),
        ("docs/schedule.md", "a GPU's work"),
        ("docs/serve.md", "serves until it is ended"),
        ("docs/serve.md", "asks a server"),
        ("docs/serve.md", "needs LitServe"),
        ("docs/serve.md", "serves, and measures"),
        ("docs/serve.md", "serves, and measures"),
        ("docs/serve.md", "serves, and measures"),
        ("docs/strategies.md", "hours, and vectors of real text"),
        ("docs/sweeps.md", "the extra optuna; nox -s optuna runs the like"),
        ("docs/tmd.md", "needs an endpoint"),
    ]


def test_readme_names_every_document() -> None:
    text = README.read_text()
    assert [name for name in NAMES[1:] if f"]({name})" not in text] == []


@pytest.fixture(scope="module")
def forking() -> Iterator[Path]:
    """The commands' folder for PATH. Figures are pixels there: tests/reporting/test_plots.py draws them."""
    with shell.commands() as folder:
        yield folder


@pytest.fixture(scope="module")
def after_readme(tmp_path_factory: pytest.TempPathFactory, forking: Path) -> Path:
    """Where somebody stands who has given all commands of README, in a new folder with an empty home."""
    folder = tmp_path_factory.mktemp("home") / "reader"
    folder.mkdir()
    share_texts(folder.parent)
    # README's first command is the one that also installs; this one starts a Python of its own and draws.
    give("lvm-lab train arch=mamba2 loss=infonce", "README.md", folder, own_python(folder))
    run(README, folder, forking)
    return folder


def share_texts(parent: Path) -> None:
    """A part of the texts that README's walk reads, where it looks for them: some paragraphs of some PEPs."""
    (parent / "shared/data").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "fixtures" / "peps.jsonl", parent / "shared/data")


def own_python(folder: Path) -> Path:
    """The same commands as processes that begin with nothing."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, what in {"lvm-lab": " -m lvm_lab", "python": "", "lvm-train": " -m lvm_lab.train"}.items():
        (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{what} "$@"\n')
        (bin_folder / name).chmod(0o755)
    return bin_folder


@pytest.mark.slow
def test_readme_leads_to_a_verdict_a_prediction_and_a_page(after_readme: Path) -> None:
    verdict = json.loads((after_readme / "outputs/mine/result.json").read_text())["five_cat"]["verdict"]
    assert verdict in ("pass", "fail", "undecided")
    assert np.load(after_readme / "predictions.npz")["unit"].shape == (60 * 16, 64)
    assert (after_readme / "outputs/index.html").stat().st_size > 10_000
    assert {"letters", "val"} <= {row.split(",")[3] for row in (after_readme / "evaluation/table.csv").open()}
    assert (after_readme / "peps.ivf.index/manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("document", OTHERS, ids=NAMES[1:])
def test_a_documents_commands_run_where_readmes_end(
    document: Path, after_readme: Path, forking: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(after_readme, folder)
    run(document, folder, forking)


def run(document: Path, folder: Path, bin_folder: Path) -> None:
    for block in blocks(document):
        if block.file is not None:
            write(block, folder)
            if block.language == "python" and "/" in block.file:
                module = block.file.removesuffix(".py").replace("/", ".")
                give(f"python -c 'import {module}'", block.place, folder, bin_folder)
        elif block.language == "python":
            (folder / "snippet.py").write_text(block.text)
            give("python snippet.py", block.place, folder, bin_folder)
        elif block.language == "bash" and block.reason is None:
            for line in block.lines():
                give(line, block.place, folder, bin_folder)


def give(line: str, place: str, folder: Path, bin_folder: Path) -> None:
    """A line to a shell that finds this checkout's commands, as somebody with an empty home."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    paths = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(ROOT / "src")}
    with contextlib.chdir(folder):
        script = shrunk(line)
    done = shell.give(script, folder, os.environ | ENVIRONMENT | paths)
    assert done.returncode == 0, f"{place}: {line}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr, f"{place}: {line}\n{done.stdout}{done.stderr}"


def shrunk(line: str) -> str:
    """A line with settings that shrink what it does, in the folder that it would have without them."""
    (words,) = commands(line)
    more: list[str] = []
    if words[:2] == ["lvm-lab", "ingest"] and not any(word.startswith("reader.limit=") for word in words):
        more = ["reader.limit=100"]
    if words[:2] == ["lvm-lab", "evaluate"]:
        more = [*JUDGE]
    if words[:2] == ["lvm-lab", "train"]:
        more = [*TRAINING, *JUDGE]
        # Where a document names no logger, W&B's, which takes as long as the training; docs/loggers.md has it run.
        more += [] if any(word.startswith("logger=") for word in words) else ["logger=none"]
        more += [] if "data=npz" in words else WORLD
        more += [] if any(choice in words for choice in WITHOUT_WIDTH) else [WIDTH]
        named = [word.partition("=")[2] for word in words if word.startswith("schedule=")]
        if named:
            more.append(f"schedule.only={ROWS[named[0]]}")
        elif "-m" not in words and (place := documented.folder_of(words[2:])):
            more.append(f"run.dir={place}")
    return f"{COMMENT.sub('', line)} {shlex.join(more)}"
