"""Checkpoints, runs and sweeps that version 0.1.0 wrote: they load, list as finished, resume and keep their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import lvm_lab
from helpers.commands import call, rows
from lvm_lab.commands import composing
from lvm_lab.config import conf
from lvm_lab.runs.identity import fingerprint
from lvm_lab.sweeps import leaderboard

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
COMMANDS = json.loads((SCHEMA1 / "commands.json").read_text())
FINGERPRINTS = json.loads((SCHEMA1 / "fingerprints.json").read_text())


@pytest.mark.parametrize("file", sorted((SCHEMA1 / "checkpoints").glob("*.ckpt")), ids=lambda file: file.stem)
def test_every_old_checkpoint_loads_and_says_what_it_said(file: Path) -> None:
    saved = torch.load(file, weights_only=True)["lvm_lab"]
    model = lvm_lab.load(file)
    raw_ND = model.predict(saved["golden_input"]).raw_ND
    torch.testing.assert_close(raw_ND, saved["golden_output"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", sorted(FINGERPRINTS))
def test_an_unchanged_composition_keeps_its_fingerprint(settings: str) -> None:
    config = composing.compose("train", conf.spell_out(settings.split()))
    planted = config["data"]["name"] == "planted"
    content = {"planted": "0" * 64} if planted else {"store": "1" * 64, "ood": "2" * 64}
    assert fingerprint(config, content) == FINGERPRINTS[settings]


def test_an_old_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA1 / "outputs", tmp_path / "outputs")
    (folder,) = (tmp_path / "outputs").iterdir()
    before = (folder / "result.json").read_bytes()
    outcome = call(tmp_path, *COMMANDS["run"])
    assert outcome.code == 0, outcome.err
    assert "finished already" in outcome.out
    assert "5CAT" in outcome.out
    assert (folder / "result.json").read_bytes() == before


@pytest.mark.slow
def test_an_old_killed_run_goes_on_to_the_end_of_an_unbroken_one(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA1 / "killed", tmp_path / "killed")
    outcome = call(tmp_path, *COMMANDS["killed"], "run.dir=killed")
    assert outcome.code == 0, outcome.err
    assert "going on after epoch" in outcome.out
    unbroken = [json.loads(line) for line in (SCHEMA1 / "killed.unbroken.jsonl").read_text().splitlines()]
    history = rows(tmp_path / "killed")
    assert [row["epoch"] for row in history] == [row["epoch"] for row in unbroken]
    for key in ("train/loss", "val/loss", "val/cos", "lr"):
        # Other processors round otherwise; the same one gives equal bits, which the tests of resuming hold.
        assert [row[key] for row in history] == pytest.approx([row[key] for row in unbroken], rel=1e-2), key
    result = json.loads((tmp_path / "killed" / "result.json").read_text())
    before = json.loads((SCHEMA1 / "killed.result.json").read_text())
    for part in ("val", "test", "ood"):
        assert result[part]["cos"]["value"] == pytest.approx(before[part]["cos"]["value"], abs=5e-3)
    assert result["fingerprint"] == before["fingerprint"]
    assert result["params"] == before["params"]


def test_an_old_sweep_lists_as_it_did() -> None:
    listed = {row.name: row for row in leaderboard.read(SCHEMA1 / "multirun" / "smoke")}
    assert {name for name, row in listed.items() if row.status == "finished"} == {"gru", "lstm", "amn", "transformer"}
    assert listed["mamba2"].status == "started"
    assert listed["ridge"].status == "missing"
    best = leaderboard.ranked(listed.values(), gated=False)
    assert len(best) == 4
    assert all(row.rank is not None for row in best)


def test_an_old_row_is_not_run_again(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA1 / "multirun", tmp_path / "multirun")
    folder = tmp_path / "multirun" / "smoke" / "gru"
    before = (folder / "result.json").read_bytes()
    outcome = call(tmp_path, "-m", *COMMANDS["sweep"], "head.hidden=16", "schedule.only=gru")
    assert outcome.code == 0, outcome.err
    assert (folder / "result.json").read_bytes() == before
