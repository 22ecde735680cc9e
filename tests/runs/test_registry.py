"""A registry of promoted models: a stage moves whole wherever a command is cut off, and the history says it."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lvm_lab.errors import UserError
from lvm_lab.runs.registry import HISTORY, LOCK, Model, Work

STAGE = "production"
FILES = ("model.safetensors", "config.json", "README.md")
# What changes a disk or asks it: behind each of them the power may go.
OPERATIONS = {"open", "os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.listdir"}


class PowerLoss(BaseException):
    """Nothing is put in order behind it."""


class Power:
    """Goes at the `left`-th file operation below `folder`, and stays away until it is given back."""

    def __init__(self) -> None:
        self.folder, self.left, self.on = Path("/nowhere"), 0, False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in OPERATIONS or not str(arguments[0]).startswith(str(self.folder)):
            return
        self.left -= 1
        if self.left <= 0:
            raise PowerLoss

    @contextmanager
    def lost_at(self, folder: Path, step: int) -> Iterator[None]:
        self.folder, self.left, self.on = folder, step, True
        try:
            yield
        finally:
            self.on = False


POWER = Power()
# A hook stays for the life of the process; without `on` it does nothing.
sys.addaudithook(POWER)


def filled(place: Path, content: str) -> None:
    for name in FILES:
        (place / name).write_text(content)


def promote(model: Model, content: str, **fields: Any) -> str:
    with model.at_work() as work:
        work.note("look", run=content, passed=True)
        with work.building() as place:
            filled(place, content)
            version = work.add(place)
        work.move(STAGE, version, "promote", run=content, **fields)
    return version


def back(model: Model) -> None:
    with model.at_work() as work:
        version = work.before(STAGE)
        assert version is not None
        work.move(STAGE, version, "rollback")


def served(model: Model) -> str:
    """What a server finds behind the link: every file whole and of one version."""
    contents = {(model.folder / STAGE / name).read_text() for name in FILES}
    assert len(contents) == 1
    return contents.pop()


def moves(model: Model) -> list[tuple[str, str]]:
    return [(line["action"], line["version"]) for line in model.history() if "version" in line]


def test_a_stage_moves_and_comes_back(tmp_path: Path) -> None:
    model = Model.of(tmp_path / "registry", "mine")
    assert [promote(model, name) for name in ("one", "two", "three")] == ["1", "2", "3"]
    assert (served(model), model.version(STAGE), os.readlink(model.folder / STAGE)) == ("three", "3", "versions/3")
    back(model)
    back(model)
    assert (served(model), model.before(STAGE)) == ("one", None)
    promote(model, "four")
    assert model.before(STAGE) == "1", "a version that was rolled back does not come again"
    assert moves(model)[-3:] == [("rollback", "2"), ("rollback", "1"), ("promote", "4")]
    assert {item.name for item in model.folder.iterdir()} - {LOCK} == {STAGE, "versions", HISTORY}
    assert sorted(item.name for item in (model.folder / "versions").iterdir()) == ["1", "2", "3", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("change", ["promote", "rollback"])
def test_power_that_goes_between_any_two_steps_leaves_the_old_or_the_new(tmp_path: Path, change: str) -> None:
    outcomes = []
    for step in itertools.count(1):
        model = Model.of(tmp_path / f"registry-{step}", "mine")
        promote(model, "one")
        promote(model, "two")
        try:
            with POWER.lost_at(model.folder, step):
                promote(model, "three") if change == "promote" else back(model)
            break
        except PowerLoss:
            outcomes.append(served(model))
        # The next command puts in order what was left, and the history says where the stage stands.
        with model.at_work() as work:
            assert work.version(STAGE) == moves(model)[-1][1]
        assert {item.name for item in model.folder.iterdir()} - {LOCK} == {STAGE, "versions", HISTORY}
        assert served(model) == outcomes[-1]
        if outcomes[-1] != "one":
            back(model)
            assert served(model) == {"two": "one", "three": "two"}[outcomes[-1]]
        promote(model, "four")
        assert served(model) == "four"
    new = "three" if change == "promote" else "one"
    assert served(model) == new
    assert len(outcomes) > 10
    assert set(outcomes) == {"two", new}, "before and behind the one step that moves it"
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome == new)


def test_a_place_that_is_not_the_registrys_is_refused(tmp_path: Path) -> None:
    model = Model.of(tmp_path, "mine")
    promote(model, "one")
    link = model.folder / STAGE
    for target, sentence in (
        ("/etc", "is no link to a version of the registry's own; move it away"),
        ("versions/../..", "is no link to a version of the registry's own; move it away"),
    ):
        link.unlink()
        link.symlink_to(target)
        with pytest.raises(UserError, match=sentence):
            model.version(STAGE)
        with pytest.raises(UserError, match=sentence):
            promote(model, "two")
        assert os.readlink(link) == target
    for name in ("", "..", ".hidden", "a/b", "m模型", "a" * 101):
        with pytest.raises(UserError, match="is no name of a model"):
            Model.of(tmp_path, name)


def test_a_stage_can_be_moved_away_from_a_version_that_is_gone_and_never_to_one(tmp_path: Path) -> None:
    model = Model.of(tmp_path, "mine")
    for name in ("one", "two", "three"):
        promote(model, name)
    versions = model.folder / "versions"
    (versions / "3").rename(tmp_path / "3")
    with pytest.raises(UserError, match="points at versions/3, which is gone; bring that back, promote anew, or roll"):
        model.version(STAGE)
    back(model)
    assert served(model) == "two"
    (versions / "1").rename(tmp_path / "1")
    with pytest.raises(UserError, match="1 is gone; bring that back, or promote a run"):
        back(model)
    assert served(model) == "two"
    (versions / "2").rename(tmp_path / "2")
    assert promote(model, "four") == "4", "the number of a version that is gone means that one for good"
    assert served(model) == "four"


def test_one_command_at_a_time(tmp_path: Path) -> None:
    model = Model.of(tmp_path, "mine")
    with (
        model.at_work(),
        pytest.raises(UserError, match=r"another process is at work in .*mine; wait until it has ended"),
        model.at_work(),
    ):
        raise AssertionError("it was let in")


def test_a_history_that_somebody_changed_is_left_alone(tmp_path: Path) -> None:
    model = Model.of(tmp_path, "mine")
    promote(model, "one")
    (model.folder / HISTORY).write_text('{"action": "promote"\n')
    with pytest.raises(UserError, match="holds a line that is none of the registry's; mend it by hand"):
        promote(model, "two")
    assert (model.folder / HISTORY).read_text() == '{"action": "promote"\n'
    assert served(model) == "one"


def test_lines_are_whole_json(tmp_path: Path) -> None:
    model = Model.of(tmp_path, "mine")
    promote(model, "one", reason="weil's so ist")
    lines = (model.folder / HISTORY).read_text().splitlines()
    look, move = map(json.loads, lines)
    assert (look["action"], move["before"], move["reason"]) == ("look", None, "weil's so ist")
    assert isinstance(Work(model.folder), Model)
