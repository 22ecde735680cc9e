"""Scales: what they set before and after a row's own settings; that every row of hundred's `full` fits together."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lvm_lab.build.training import module
from lvm_lab.commands import rows
from lvm_lab.config.settings import settings
from lvm_lab.errors import UserError
from lvm_lab.sweeps import scales, schedule
from lvm_lab.sweeps.schedule import Schedule
from lvm_lab.types import Stats

NOT_CAUSAL = ("linformer", "ensemble")
STATS = Stats(torch.zeros(8), torch.ones(8), torch.zeros(8), torch.ones(8))


@functools.cache
def full() -> Schedule:
    return schedule.load("hundred").scaled("full", rows.compose)


def test_an_exception_stands_after_a_rows_own_settings_and_a_later_one_over_an_earlier() -> None:
    scale = scales.read(
        {
            "set": ["a=1", "b=1", "c=1", "5cat.seed=1"],
            "exceptions": [{"rows": ["x", "y-*"], "set": ["b=3", "c=3"]}, {"rows": ["y-2"], "set": ["c=4"]}],
        },
        "scale",
    )
    written = {name: scale.written_out(name, ["a=0", "d=0"], ["b=2"]) for name in ("x", "y-2", "z")}
    assert written["z"] == ["a=1", "d=0", "b=2", "c=1", "five_cat.seed=1"]
    assert written["x"] == ["a=1", "d=0", "b=3", "c=3", "five_cat.seed=1"]
    assert written["y-2"] == ["a=1", "d=0", "b=3", "c=4", "five_cat.seed=1"]


def test_numbers_are_multiplied_after_exceptions_and_copies_of_rows_are_left_alone(tmp_path: Path) -> None:
    table = {
        "scales": {
            "big": {"times": {"arch.width": 2}, "exceptions": [{"rows": ["a*"], "set": ["arch.width=24"]}]},
        },
        "rows": [
            {"id": "a", "overrides": ["arch=gru", "arch.width=8"]},
            {"id": "b", "overrides": ["arch=gru", "arch.width=8"]},
            {"id": "again", "from": "best1", "overrides": ["seed=1"]},
        ],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(table))
    written = schedule.read(tmp_path / "mine.yaml").scaled("big", rows.compose).rows
    assert [row.overrides for row in written] == [
        ["arch=gru", "arch.width=48"],
        ["arch=gru", "arch.width=16"],
        ["seed=1"],
    ]


@pytest.mark.parametrize(
    ("exceptions", "words"),
    [
        ([{"rows": ["b*"], "set": []}], "scales.big.exceptions: b* fits no row that has settings of its own"),
        ([{"rows": ["again"], "set": []}], "scales.big.exceptions: again fits no row that has settings of its own"),
        ([{"row": ["a"], "set": []}], "scales.big.exceptions.row does not exist (did you mean rows?)"),
        ([{"rows": "a", "set": []}], "scales.big.exceptions.rows='a' does not fit; give it a list."),
        ({"a": []}, "scales.big.exceptions={'a': []} does not fit; write [{rows: [GLOB], set: []}]."),
    ],
)
def test_exceptions_that_are_none_are_told(tmp_path: Path, exceptions: Any, words: str) -> None:
    table = {
        "scales": {"big": {"exceptions": exceptions}},
        "rows": [{"id": "a"}, {"id": "again", "from": "best1"}],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(table))
    with pytest.raises(UserError) as refused:
        schedule.read(tmp_path / "mine.yaml")
    assert words in str(refused.value)
    assert "mine.yaml, line 1" in str(refused.value)


@pytest.mark.slow
def test_every_row_of_the_full_scale_fits_together_and_all_that_are_causal_read_documents() -> None:
    for row in full().rows:
        if row.source is not None:
            # It has the settings of one of the others.
            continue
        config = rows.compose(row)
        typed = settings(config)
        assert typed.data.windows == ("sliding" if row.arch in NOT_CAUSAL else "documents"), row.id
        assert typed.data.context_length == (16 if row.arch == "linformer" else 64), row.id
        assert (typed.trainer.precision, typed.device.resident) == ("bf16-mixed", "auto"), row.id
        if row.arch == "ensemble":
            assert config["head"]["name"] == "ensemble"
            continue
        # As a training checks which arch, head, loss and supervision go together.
        with torch.device("meta"):
            backbone = module(typed, STATS, {}).model.backbone
        assert backbone.causal == (row.arch not in NOT_CAUSAL), row.id


@pytest.mark.slow
def test_a_commands_own_data_and_settings_stand_over_the_full_scales() -> None:
    (row,) = (row for row in full().rows if row.id == "w1-gru-256")
    config = rows.compose(
        row, ["data=npz", "data.path=mine.npz", "trainer.precision=32-true", "data.context_length=16"]
    )
    assert (config["data"]["path"], config["data"]["windows"]) == ("mine.npz", "documents")
    assert (config["trainer"]["precision"], config["data"]["context_length"]) == ("32-true", 16)
    assert config["trainer"]["optim"]["lr"] == pytest.approx(8e-4)
