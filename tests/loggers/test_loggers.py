"""Loggers by name, several at once: the tables and event files of a run, resumed too; a user's own; one that fails."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.commands import HELPERS, MODEL, call, finish, fork, rows, run
from lvm_lab.config import conf, loggers
from lvm_lab.errors import UserError
from lvm_lab.loggers.base import Loggers, flat
from lvm_lab.loggers.csv import CSV
from lvm_lab.loggers.tensorboard import TensorBoard
from lvm_lab.runs.folder import RunFolder
from lvm_lab.runs.identity import computing
from lvm_lab.runs.result import Result

WORLD = ("data.dim=32", "data.documents=60", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
TINY = (*WORLD, *MODEL, "trainer.batch_size=64", "trainer.max_epochs=3", "5cat=smoke", "5cat.resamples=20")
OLD = {"project": "p", "entity": None, "group": "g", "artifacts": True}
NEW = {"_target_": loggers.WANDB, "mode": "offline"} | OLD
OWN = """
import json, pathlib

class Lines:
    def __init__(self, name, fail_at=None):
        self.name, self.fail_at = name, fail_at

    def begin(self, run, config):
        self.file = run.path / self.name
        self.lines = [["begin", config["arch"]["name"]]]

    def again(self, rows):
        self.lines.append(["again", len(rows)])

    def row(self, row):
        if row["epoch"] == self.fail_at:
            raise RuntimeError("no room")
        self.lines.append(["row", row["epoch"]])

    def result(self, result, plots):
        self.lines.append(["result", result.status, sorted(plots)])

    def close(self, failed):
        self.lines.append(["close", failed])
        self.file.write_text(json.dumps(self.lines))
"""
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs the extra tensorboard"
)


def table(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "csv" / name).read_text().splitlines()))


def assert_holds(columns: list[dict[str, str]], history: list[dict[str, Any]]) -> None:
    """The table has every value of the history under its name, and nothing else."""
    assert len(columns) == len(history)
    for line, row in zip(columns, history, strict=True):
        assert {name for name, text in line.items() if text != ""} == {n for n, v in row.items() if v is not None}
        for name, value in row.items():
            if isinstance(value, int | float):
                assert float(line[name]) == float(value), name


@pytest.fixture(scope="module", name="resumed")
def _resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two loggers, one of them a user's own, killed in its second epoch and taken up again."""
    work = tmp_path_factory.mktemp("resumed")
    (work / "my_loggers.py").write_text(OWN)
    (work / "own" / "logger").mkdir(parents=True)
    own = "mine:\n  _target_: my_loggers.Lines\n  name: lines.json\n"
    (work / "own" / "logger" / "mine.yaml").write_text(own)
    command = ("--config-dir", "own", *TINY, "logger=[csv,mine]", "run.cache=cache", "run.dir=run")
    path = f"{work}:{Path(conf.__file__).parents[2]}"
    cut = finish(fork(work, "validation", "3", *command, script=HELPERS / "interrupting.py", PYTHONPATH=path))
    assert cut.code == -9, cut.err
    assert len(table(work / "run")) == 1
    outcome = finish(fork(work, *command, PYTHONPATH=path))
    assert "going on after epoch" in outcome.out, outcome.err
    return work / "run"


@pytest.mark.slow
def test_a_resumed_run_has_every_row_once_in_the_table(resumed: Path) -> None:
    assert_holds(table(resumed), rows(resumed))
    assert [line["epoch"] for line in table(resumed)] == ["0", "1", "2"]
    (line,) = table(resumed, "result.csv")
    result = json.loads((resumed / "result.json").read_text())
    assert line["status"] == "finished"
    assert float(line["val/cos"]) == result["val"]["cos"]["value"]
    assert int(line["5cat/passed"]) == result["five_cat"]["passed"]


@pytest.mark.slow
def test_a_users_own_logger_gets_all_that_the_labs_get(resumed: Path) -> None:
    plots = sorted(file.stem for file in (resumed / "plots").glob("*.png"))
    lines = json.loads((resumed / "lines.json").read_text())
    assert lines == [
        ["begin", "gru"],
        ["again", 1],
        ["row", 1],
        ["row", 2],
        ["result", "finished", plots],
        ["close", False],
    ]
    config = yaml.safe_load((resumed / "config.yaml").read_text())
    assert config["logger"]["mine"] == {"_target_": "my_loggers.Lines", "name": "lines.json"}
    assert "logger" not in computing(config)


def test_a_logger_that_fails_costs_no_run_and_no_other_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_loggers.py").write_text(OWN)
    (tmp_path / "own" / "logger").mkdir(parents=True)
    own = "mine: {_target_: failing_loggers.Lines, name: lines.json, fail_at: 1}\n"
    (tmp_path / "own" / "logger" / "mine.yaml").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    command = (*TINY, "5cat=off", "logger=[mine,csv]", "run.cache=cache", "run.dir=run")
    outcome = call(tmp_path, "--config-dir", "own", *command)
    assert outcome.code == 0, outcome.err
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("the logger mine does not work (RuntimeError: no room): this session goes on without it") == 1
    assert json.loads((tmp_path / "run" / "lines.json").read_text())[-1] == ["close", True]
    assert_holds(table(tmp_path / "run"), rows(tmp_path / "run"))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, "", "new")


ROWS = [
    {"epoch": 0, "step": 5, "val/loss": 0.5, "5cat/alarms": ["copying"], "5cat/rank": [1, 0.2]},
    {"epoch": 1, "step": 10, "val/loss": None, "val/cos": 0.25},
]
RESULT = Result("run", "gru", "mse", "planted", "finished", 0, "f", 1.0)
RESULT.val = {"cos": {"value": 0.5, "interval": [0.4, 0.6]}, "alarms": [], "five_cat": {"halves": {}}, "windows": 7}


def test_flat_names_hold_values_and_no_lists() -> None:
    assert flat({"val": RESULT.val, "n": 1}) == {"val/cos": 0.5, "val/windows": 7, "n": 1}


def test_a_session_of_the_table_starts_anew(folder: RunFolder) -> None:
    (folder.path / "csv").mkdir()
    (folder.path / "csv" / "notes.txt").write_text("somebody's")
    for _ in range(2):
        logger = CSV()
        logger.begin(folder, {})
        logger.again(ROWS[:1])
        logger.row(ROWS[1])
        logger.result(RESULT, {})
        logger.close(False)
    assert_holds(table(folder.path), ROWS)
    assert table(folder.path)[0]["step"] == "5"
    assert (folder.path / "csv" / "notes.txt").exists()


@needs_tensorboard
def test_event_files_hold_each_epoch_once_and_the_plots(folder: RunFolder) -> None:
    from matplotlib.image import imsave
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plot = folder.path / "offsets.png"
    imsave(plot, [[0.0, 1.0], [1.0, 0.0]])
    for _ in range(2):
        logger = TensorBoard()
        logger.begin(folder, {"arch": {"name": "gru"}, "data": {"speeds": [1, 2]}})
        logger.again(ROWS[:1])
        logger.row(ROWS[1])
        logger.result(RESULT, {"offsets": plot})
        logger.close(False)
    events = EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {"epoch", "step", "val/loss", "val/cos", "result/val/cos", "result/val/windows"}
    assert [(e.step, e.value) for e in events.Scalars("step")] == [(0, 5), (1, 10)]
    assert [(e.step, e.value) for e in events.Scalars("val/cos")] == [(1, 0.25)]
    assert tags["images"] == ["plots/offsets"]


def test_tensorboard_without_its_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"logger=tensorboard writes with is missing; pip install .*\[tensorboard\]"):
        Loggers({"tensorboard": {"_target_": "lvm_lab.loggers.tensorboard.TensorBoard"}})


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("logger.project=P", "logger.wandb.project=P"),
        ("logger.wandb=offline", "logger.wandb.mode=offline"),
        ("++logger.artifacts=true", "++logger.wandb.artifacts=true"),
        ("logger.wandb.project=P", "logger.wandb.project=P"),
        ("logger=wandb", "logger=wandb"),
        ("logger.csv.project=P", "logger.csv.project=P"),
        ("logger.projects=P", "logger.projects=P"),
        ("my.logger.project=P", "my.logger.project=P"),
    ],
)
def test_settings_of_wandb_are_spelt_out(typed: str, read: str) -> None:
    assert conf.spell_out([typed]) == [read]


CSV_NODE = {"_target_": "lvm_lab.loggers.csv.CSV"}


@pytest.mark.parametrize(
    ("node", "nodes"),
    [
        ({}, {}),
        ({"wandb": NEW}, {"wandb": NEW}),
        ({"wandb": "offline"} | OLD, {"wandb": NEW}),
        ({"wandb": NEW, "csv": CSV_NODE, "project": "q"}, {"wandb": NEW | {"project": "q"}, "csv": CSV_NODE}),
        ({"project": "of nothing"}, {}),
        ({"wandb": {"project": "of nothing"}}, {}),
    ],
)
def test_a_node_of_any_version_is_read_by_name(node: dict[str, Any], nodes: dict[str, Any]) -> None:
    assert loggers.by_name(node) == nodes


@pytest.mark.parametrize("node", [{"mine": 3}, {"_target_": "my.Logger"}, {"mine": {"a": 1}}])
def test_what_is_no_logger_is_refused_with_a_sentence(node: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^logger\.\w+ is no logger; give each its name and class"):
        loggers.by_name(node)


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({"_target_": "nowhere.Logger"}, "logger.mine._target_=nowhere.Logger cannot be imported"),
        ({"_target_": "lvm_lab.loggers.csv.CSV", "a": 1}, "logger.mine.a does not exist"),
        ({"_target_": loggers.WANDB, "mode": "on"}, "logger.mine.mode='on' does not fit; give it one of auto, online"),
    ],
)
def test_a_logger_that_cannot_be_made_is_refused_with_a_sentence(node: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refusal:
        Loggers({"mine": node})
    assert str(refusal.value).startswith(sentence)


def test_the_labs_loggers_are_made_without_torch(tmp_path: Path) -> None:
    """So that a dry run can hold their settings against their types."""
    script = tmp_path / "made.py"
    made = "from lvm_lab.loggers.base import Loggers\nimport sys\n"
    made += f"Loggers({{'wandb': {NEW!r}, 'csv': {{'_target_': 'lvm_lab.loggers.csv.CSV'}}}})\n"
    made += "assert not {'torch', 'pytorch_lightning', 'wandb'} & set(sys.modules)\n"
    script.write_text(made)
    outcome = run(tmp_path, script=script, PYTHONPATH=":".join(sys.path))
    assert outcome.code == 0, outcome.err
