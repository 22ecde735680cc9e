"""CONTRIBUTING's checklists, followed from outside the package: a user's part of every kind, in one run."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import lvm_lab
from helpers.commands import Outcome, call, finish, fork, only_run, rows, run
from lvm_lab import ingest, report
from lvm_lab.commands.arguments import sort
from lvm_lab.commands.guest import from_python
from lvm_lab.config.ingest import GROUPS
from lvm_lab.data.store import open_store
from lvm_lab.runs import reading
from lvm_lab.runs.reading import Run
from lvm_lab.text.decoder import Resources, open_decoder
from lvm_lab.text.encoders.hashing import Hashing
from lvm_lab.text.smoother import open_smoother

ROOT = Path(__file__).parents[1]
OWN = ROOT / "tests" / "fixtures" / "own_parts"
SCRIPT = Path(sysconfig.get_path("scripts"), "lvm-train")
KINDS = [
    "arch",
    "head",
    "loss",
    "data source",
    "reader",
    "chunker",
    "encoder",
    "decoder",
    "smoother",
    "gate",
    "baseline",
    "logger",
    "callback",
    "strategy",
]
KINDS += ["launcher", "report column"]
TEXT = ("--config-dir", "conf", "reader=verses", "chunker=pairs", "encoder=vowels", "out=poems")
PARTS = ("--config-dir", "conf", "arch=average", "head=affine", "loss=absolute", "data=shelf", "5cat=mine", "seed=3")
PARTS += ("logger=lines", "callbacks=[default,counter]", "callbacks.counter.factor=7", "strategy=thinned")
TINY = ("trainer.max_epochs=2", "trainer.batch_size=64", "5cat.resamples=20", "device=cpu", "device.threads=1")
COMMAND = (*PARTS, *TINY, "run.cache=cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with parts of their own; nothing of it is on Python's path."""
    folder = tmp_path / "home"
    shutil.copytree(OWN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("SHELF_PASSWORD", "open-sesame")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def check(outcome: Outcome, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That every part took part: the result names it and its numbers are there."""
    assert outcome.code == 0, outcome.err
    folder = only_run(home / "outputs")
    assert folder.name.startswith("average-absolute-shelf-")
    read = reading.read(folder)
    _check_result(read)
    history = rows(folder)
    assert all("train/absolute" in row and "val/absolute" in row for row in history)
    assert [row["counter/steps"] for row in history] == [7 * row["step"] for row in history]
    assert {row["counter/seed"] for row in history} == {3}
    assert [row["stage"] for row in history] == ["thin", "whole"]
    assert history[0]["step"] < history[1]["step"] - history[0]["step"]
    lines = (folder / "lines.txt").read_text().splitlines()
    assert lines == ["begins average", "epoch 0", "epoch 1", "finished", "ends well"]
    # In the closing tables, and in the files of the leaderboard.
    assert {"length", "first"} <= set(outcome.out.split())
    monkeypatch.syspath_prepend(home)
    _check_columns(home, str(history[-1]["counter/steps"]))
    model = lvm_lab.load(folder, allow=["my_package"])
    assert (type(model.backbone).__name__, type(model.head).__name__) == ("Average", "Affine")
    context_BLD = torch.randn(2, 5, 24)
    state = None
    for place in range(5):
        streamed, state = model.step(context_BLD[:, place], state)
    torch.testing.assert_close(streamed.raw_ND, model.predict(context_BLD).raw_ND)


def _check_result(read: Run) -> None:
    result = read.result
    assert result is not None
    assert (result.arch, result.loss, result.data, result.status) == ("average", "absolute", "shelf", "finished")
    assert list(read.config["identity"]["content"]) == ["shelf", "ood"]
    assert (read.config["head"]["name"], read.config["data"]["password"]) == ("affine", "<secret>")
    assert (result.verdict.of if result.verdict else None) == 6
    assert result.gates["F"].state is not None
    assert result.numbers("val", "F")["length"].threshold == 10
    assert list(result.baseline_summaries) == ["copy_last", "ridge", "first"]
    assert result.baseline_summaries["first"].val["A/cos"] is not None


def _check_columns(home: Path, steps: str) -> None:
    assert report.main([str(home / "outputs"), "--columns", "my_package.columns"]) == 0
    with (home / "outputs" / "leaderboard.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert (line["arch"], line["counter/steps"]) == ("average", steps)
    assert list(line)[-2:] == ["counter/steps", "error"]
    table = (home / "outputs" / "leaderboard.md").read_text()
    assert "| steps |" in table
    assert f"| {steps} |" in table
    assert f'"counter/steps":{steps}' in (home / "outputs" / "index.html").read_text()


def test_a_part_of_every_kind_in_one_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(call(home, *COMMAND), home, monkeypatch)


def test_a_part_of_every_kind_in_one_ingestion(home: Path) -> None:
    outcome = call(home, *TEXT, "chunker.size=3", main=ingest.main)
    assert outcome.code == 0, outcome.err
    store = open_store(home / "poems", verify=True)
    assert (store.contract.encoder, store.contract.library, store.dim) == ("vowels", "my_package", 15)
    assert (len(store.documents), store.documents.length[0]) == (30, 6)
    assert (store.texts() or [])[0].startswith("Line 0 of poem 0 has 0 stars. Line 1 of")
    again = call(home, *TEXT, "encoder.scal=2", main=ingest.main)
    assert again.code == 2


def test_a_decoder_of_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(home)
    node = from_python("diagnose", sort(["decoder=menu"]), None, str(home / "conf"))["decoder"]
    encoder = Hashing(dim=64)
    decoder = open_decoder(node, Resources("vectors", encoder.contract(), encoder, None, home))
    decoded = decoder.decode(encoder.encode(["more soup", "one bread"]))
    assert [candidates[0].text for candidates in decoded] == ["soup of the day", "bread and butter"]


def test_a_smoother_of_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(home)
    smoother = open_smoother(from_python("generate", sort(["smoother=tidy"]), None, str(home / "conf"))["smoother"])
    assert smoother is not None
    assert smoother(["soup of the day", ""]) == ["Soup of the day.", ""]


@pytest.mark.slow
@pytest.mark.parametrize("script", [None, SCRIPT], ids=["python -m", "lvm-train"])
def test_both_commands_find_them(home: Path, script: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    check(run(home, *COMMAND, script=script), home, monkeypatch)


def test_the_console_script_finds_what_stands_in_the_current_folder(home: Path) -> None:
    """In a process of its own, without torch: Hydra looks for plugins where Python looks for modules."""
    shown = run(home, *PARTS, "hydra/launcher=mine", "--cfg", "hydra", script=SCRIPT)
    assert shown.code == 0, shown.err
    assert "_target_: hydra_plugins.my_launcher.MyLauncher" in shown.out


@pytest.mark.slow
def test_a_launcher_launches_the_jobs_of_a_multirun(home: Path) -> None:
    jobs = ("hydra/launcher=mine", "arch.width=8,16", "trainer.max_epochs=1", "5cat=off")
    done = finish(fork(home, "-m", *COMMAND, *jobs))
    assert done.code == 0, done.err
    launched = json.loads((home / "launched.json").read_text())
    assert ["arch.width=8" in job for job in launched] == [True, False]
    assert ["arch.width=16" in job for job in launched] == [False, True]
    assert len([folder for folder in (home / "multirun" / "adhoc").iterdir() if (folder / "result.json").exists()]) == 2


def test_every_kind_has_a_checklist_whose_files_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert re.findall(r"^### An? (.+)$", text, re.MULTILINE) == KINDS
    checklists = text[text.index("### ") :]
    named = re.findall(r"`((?:src|conf|tests|docs)/[\w./*]+)`|\]\(((?:docs|tests)/[\w./]+)", checklists)
    paths = {first or second for first, second in named}
    assert len(paths) > 2 * len(KINDS)
    assert [path for path in sorted(paths) if "foo" not in path and not list(ROOT.glob(path.rstrip("/")))] == []


def test_the_example_has_one_part_of_each_kind() -> None:
    options = {file.parent.name for file in (OWN / "conf").rglob("*.yaml")}
    assert options == {
        "arch",
        "head",
        "loss",
        "data",
        "five_cat",
        "logger",
        "callbacks",
        "strategy",
        "decoder",
        "smoother",
        *GROUPS,
    }
    assert len(list((OWN / "my_package").glob("[a-z]*.py"))) == len(KINDS) - 1
