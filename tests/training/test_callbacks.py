"""Callbacks run in the order that their classes declare, and a user's own stand among them."""

from __future__ import annotations

import io
import itertools
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from rich.console import Console

from helpers import judge_data
from helpers.commands import MODEL, call, rows, timeless
from lvm_lab.archs.gru import GRU
from lvm_lab.config import conf
from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import CheckpointSettings, OptimSettings
from lvm_lab.data.windows import Windows
from lvm_lab.errors import UserError
from lvm_lab.heads.dual import DualHead
from lvm_lab.model import LatentVectorModel, identity
from lvm_lab.runs.identity import computing
from lvm_lab.training.callbacks import assembly
from lvm_lab.training.callbacks.base import OWN, Callback, RunContext
from lvm_lab.training.callbacks.checkpoints import Checkpoints
from lvm_lab.training.callbacks.diagnosis import Diagnosis
from lvm_lab.training.callbacks.five_cat import FiveCatJudge
from lvm_lab.training.callbacks.history import History
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.types import Stats

FOLDER = conf.conf_dir() / "callbacks"
DEFAULT = yaml.safe_load((FOLDER / "default.yaml").read_text())["defaults"]
ORDER = ["reseed", "divergence", "plateau", "five_cat", "diagnosis", "progress", "history", "checkpoints"]
# Of the lab, and asked for by name.
OFF = ("round_trip",)
NODES: dict[str, Any] = {}
for option in DEFAULT:
    NODES |= yaml.safe_load((FOLDER / f"{option}.yaml").read_text())
WORLD = ("data.dim=32", "data.documents=60", "data.ood_documents=12", "data.planes=4", "data.topic_dims=4")
WORLD += ("trainer.batch_size=64", "trainer.max_epochs=2", "5cat=smoke", "5cat.eval_windows=0", "5cat.resamples=20")
MINE = """
from lvm_lab.training.callbacks.base import Callback

class Mine(Callback):
    def __init__(self, seed, factor):
        self.number = seed * factor

    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.metrics |= {"mine": self.number, "mine/judged": "5cat/passed" in pl_module.metrics}
"""


class Mine(pl.Callback):
    """Knows nothing of priorities."""


@pytest.fixture(name="context")
def _context(monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr("lvm_lab.training.callbacks.diagnosis.sample_evenly", lambda *_: None)
    preset: Preset = SimpleNamespace(max_windows=1, seed=0)  # type: ignore[assignment]
    windows: Windows = None  # type: ignore[assignment]
    console = Console(file=io.StringIO())
    return RunContext(0, 0, windows, preset, console, print, print, Path("checkpoints"), CheckpointSettings())


def names(callbacks: list[pl.Callback]) -> list[str]:
    by_class = {node["_target_"].rpartition(".")[2]: name for name, node in NODES.items()}
    return [by_class.get(type(callback).__name__, "mine") for callback in callbacks]


def test_every_option_is_one_callback_of_its_name_and_listed_by_default() -> None:
    options = {file.stem for file in FOLDER.glob("*.yaml")} - {"default", *OFF}
    assert options == set(DEFAULT) == set(NODES)
    assembly.check(NODES)
    for option in options:
        assert list(yaml.safe_load((FOLDER / f"{option}.yaml").read_text())) == [option]
        assert (FOLDER / f"{option}.yaml").read_text().startswith("# In callbacks=default: ")


def test_the_declared_order_holds_however_they_are_listed(context: RunContext) -> None:
    listed = [*NODES.items(), ("mine", {"_target_": f"{__name__}.Mine"})]
    expected = [*ORDER[:5], "mine", *ORDER[5:]]
    for seed in range(5):
        random.Random(seed).shuffle(listed)
        assert names(assembly.assemble(dict(listed), context)) == expected


def test_no_two_of_the_lab_have_one_priority_and_a_user_fits_between(context: RunContext) -> None:
    priorities = [callback.priority for callback in assembly.assemble(NODES, context) if isinstance(callback, Callback)]
    assert len(priorities) == len(ORDER)
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(priorities))
    assert OWN not in priorities


def test_a_broken_priority_breaks_the_order(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "priority", FiveCatJudge.priority - 1)
    order = names(assembly.assemble(NODES, context))
    assert order.index("history") < order.index("five_cat")


@pytest.fixture(scope="module", name="plain")
def _plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("plain"))


def trained(work: Path, *arguments: str) -> Path:
    outcome = call(work, *arguments, *MODEL, *WORLD, "run.cache=cache", "run.dir=run")
    assert outcome.code == 0, outcome.err
    return work / "run"


def test_a_list_in_another_order_trains_the_same_run(plain: Path, tmp_path: Path) -> None:
    other = trained(tmp_path, f"callbacks=[{','.join(reversed(DEFAULT))}]")
    assert timeless(rows(other)) == timeless(rows(plain))
    assert "5cat/val/A/margin" in rows(other)[-1]
    assert sorted(p.name for p in (other / "checkpoints").iterdir()) == ["best.ckpt", "best_5cat.ckpt", "last.ckpt"]


def test_a_history_that_comes_too_early_lacks_the_judges_numbers(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the order is by the priorities, and that they are needed: this is what the run looks like without."""
    monkeypatch.setattr(History, "priority", FiveCatJudge.priority - 1)
    monkeypatch.setattr(Checkpoints, "priority", FiveCatJudge.priority - 2)
    broken = trained(tmp_path)
    assert any(name.startswith("5cat/") for name in rows(plain)[-1])
    assert not any(name.startswith("5cat/") for name in rows(broken)[-1])
    assert (plain / "checkpoints" / "best_5cat.ckpt").exists()
    assert not (broken / "checkpoints" / "best_5cat.ckpt").exists()


def test_a_users_own_stands_between_the_judge_and_the_history(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_callbacks.py").write_text(MINE)
    (tmp_path / "own" / "callbacks").mkdir(parents=True)
    own = "mine:\n  _target_: my_callbacks.Mine\n  factor: 3\n"
    (tmp_path / "own" / "callbacks" / "mine.yaml").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    folder = trained(tmp_path, "--config-dir", "own", "callbacks=[default,mine]", "seed=2", "callbacks.mine.factor=4")
    history = rows(folder)
    assert [(row["mine"], row["mine/judged"]) for row in history] == [(8, "5cat/passed" in row) for row in history]
    # It may change what is computed, so it makes another run; the lab's own are the same in all.
    config, without = (yaml.safe_load((f / "config.yaml").read_text()) for f in (folder, plain))
    assert "callbacks" not in computing(without)
    assert computing(config)["callbacks"] == [{"_target_": "Mine", "factor": 4}]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"history": None}, "callbacks.history is missing, and a run needs it; list the lab's beside your own"),
        ({"mine": 3}, "callbacks.mine is no callback; give it its class"),
        ({"mine": {"_target_": "nowhere.Mine"}}, "callbacks.mine._target_=nowhere.Mine cannot be imported"),
        ({"mine": {"_target_": "pathlib.Path"}}, "callbacks.mine._target_=pathlib.Path is no callback of Lightning"),
        ({"mine": {"_target_": f"{__name__}.Mine", "a": 1}}, "callbacks.mine.a does not exist"),
    ],
)
def test_what_is_no_callback_is_refused_with_a_sentence(changes: dict[str, Any], sentence: str) -> None:
    nodes = {name: node for name, node in (NODES | changes).items() if node is not None}
    with pytest.raises(UserError) as refusal:
        assembly.check(nodes)
    assert str(refusal.value).startswith(sentence)


def test_the_judges_state_keeps_the_name_that_old_checkpoints_have() -> None:
    assert FiveCatJudge.state_key.fget(None) == "FiveCatGate"  # type: ignore[attr-defined]


def test_both_judges_of_a_training_take_windows_that_read_fewer_vectors(tmp_path: Path) -> None:
    windows = judge_data.windows_of(
        tmp_path / "s", judge_data.moving_average(25, length=8)[:, :16], 8, context_length=64, min_context=2
    )
    stats = Stats(torch.zeros(16), torch.ones(16))
    described = identity({"data": {"context_length": 64, "min_context": 2}}, {}, 16)
    model = LatentVectorModel(GRU(16, 64, width=8), DualHead(8, stats, hidden=8), stats, described)
    module = LatentVectorModule(model, WeightedTerms({}, {}), OptimSettings())
    trainer = SimpleNamespace(
        current_epoch=0, max_epochs=1, should_stop=False, is_global_zero=True, strategy=SimpleNamespace(broadcast=id_)
    )
    preset = judge_data.preset()
    for callback in (FiveCatJudge(windows, preset, lambda scores: None), Diagnosis(windows, preset)):
        callback.on_train_epoch_end(trainer, module)
    assert {"5cat/val/C/left_out", "5cat/val/C/shuffled_whole", "diagnosis/last_margin"} <= module.metrics.keys()


def id_(value: Any) -> Any:
    return value
