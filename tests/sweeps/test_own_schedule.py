"""A user's own schedule from a folder of options (--config-dir): run, resumed, listed, and told by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from helpers.commands import TINY, Outcome, call

ARCH = "# mine\ndefaults: [gru]\nname: mine\nwidth: 16\n"
TABLE = """\
common: [{common}]
scales:
  small: {{set: [], times: {{arch.width: 0.5}}}}
rows:
  - {{id: one, overrides: [arch=mine]}}
  - id: two
    overrides: [arch=gru, arch.width=16, seed=1]
"""
# A flag's value stands behind it or after a `=`.
FLAGS = (("--config-dir", "my conf"), ("--config-dir=my conf",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my conf" / "arch").mkdir(parents=True)
    (tmp_path / "my conf" / "arch" / "mine.yaml").write_text(ARCH)
    (tmp_path / "my conf" / "schedule").mkdir()
    settings = [s for s in TINY if not s.startswith("arch")]
    common = ", ".join([*settings, "trainer.max_epochs=1", "run.cache=cache"])
    (tmp_path / "my conf" / "schedule" / "mine.yaml").write_text(TABLE.format(common=common))
    return tmp_path


def sweep(folder: Path, *arguments: str, flags: tuple[str, ...] = FLAGS[0]) -> Outcome:
    return call(folder, *flags, "-m", "schedule=mine", *arguments)


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "my conf" / "schedule" / "mine.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.slow
def test_it_runs_resumes_and_takes_options_of_the_same_folder(folder: Path) -> None:
    one = call(folder, *FLAGS[1], "schedule=mine", "run_id=one")
    assert one.code == 0, one.err
    result = folder / "multirun/mine/one/result.json"
    written = result.stat().st_mtime_ns
    both = sweep(folder)
    assert both.code == 0, both.err
    results = {file.parent.name for file in folder.glob("multirun/mine/*/result.json")}
    assert results == {"one", "two"}
    assert result.stat().st_mtime_ns == written
    assert yaml.safe_load((folder / "multirun/mine/one/config.yaml").read_text())["arch"]["name"] == "mine"
    # Nothing of where the table lies on this machine is in the sweep's folder.
    assert str(folder) not in (folder / "multirun/mine/schedule.yaml").read_text()
    again = sweep(folder, "schedule.dry_run=true")
    assert "2 to skip" in again.out


@pytest.mark.parametrize("flags", FLAGS)
def test_it_is_listed_before_it_runs(folder: Path, flags: tuple[str, ...]) -> None:
    listed = sweep(folder, "schedule.dry_run=true", flags=flags)
    assert listed.code == 0, listed.err
    assert "one" in listed.out
    assert "two" in listed.out
    assert not (folder / "multirun").exists()


def test_its_scale_reaches_an_option_of_ones_own(folder: Path) -> None:
    shown = call(folder, *FLAGS[1], "schedule=mine", "schedule.scale=small", "run_id=one", "--cfg", "job")
    assert shown.code == 0, shown.err
    assert yaml.safe_load(shown.out)["arch"]["width"] == 8


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("arch.width=16", "arch.widht=16", 6, "row two: arch.widht does not exist (did you mean width?)"),
        ("arch.width=16", "arch.width=wide", 6, "row two: arch.width='wide' does not fit"),
        ("[arch=mine]", "[arch=yours]", 5, "row one: arch=yours does not exist"),
        ("id: one", "idd: one", 5, "has a row without an id"),
        ("id: two", "id: one", 6, "schedule=mine has several rows called one"),
        ("overrides: [arch=gru", "overides: [arch=gru", 6, "row two: overides does not exist"),
        ("  small:", "  small: [", 4, "is no YAML"),
        ("set: []", "sett: []", 2, "scales.small.sett does not exist"),
        ("  small: {set: [], times: {arch.width: 0.5}}", "  3", 2, "scales=3 does not fit"),
        ("scales:", "best: good\nscales:", 2, "schedule mine.best='good' does not fit"),
    ],
)
def test_a_mistake_in_it_names_file_and_line(folder: Path, old: str, new: str, line: int, words: str) -> None:
    change(folder, old, new)
    refused = sweep(folder, "schedule.dry_run=true")
    assert refused.code == 2
    assert f"my conf/schedule/mine.yaml, line {line}" in refused.sentence
    assert words in refused.sentence
    assert not (folder / "multirun").exists()


def test_a_mistake_of_the_command_is_not_laid_on_the_file(folder: Path) -> None:
    refused = sweep(folder, "schedule.dry_run=true", "trainer.max_epoch=3")
    assert refused.sentence.startswith("row one: trainer.max_epoch does not exist (did you mean max_epochs?)")


def test_a_name_that_stands_twice_or_nowhere_is_told(folder: Path) -> None:
    assert (
        "choose one of hundred, mine, production, smoke"
        in call(folder, *FLAGS[0], "-m", "schedule=mien", "schedule.dry_run=true").sentence
    )
    (folder / "my conf" / "schedule" / "smoke.yaml").write_text("rows: [{id: a}]")
    twice = call(folder, *FLAGS[0], "-m", "schedule=smoke", "schedule.dry_run=true")
    assert "give one of them another name" in twice.sentence
