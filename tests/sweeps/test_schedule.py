"""The tables of runs: what they count, that every row composes, how they are scaled, chosen from and refused."""

from __future__ import annotations

import functools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import call, tree
from lvm_lab.commands import composing, rows
from lvm_lab.config import conf
from lvm_lab.config.settings import settings
from lvm_lab.errors import UserError
from lvm_lab.runs.identity import computing
from lvm_lab.sweeps import schedule
from lvm_lab.sweeps.schedule import Request, Schedule


@functools.cache
def composed(name: str, scale: str | None) -> dict[str, dict[str, Any]]:
    """The config of every row that waits for none, by the row's id: not to be changed."""
    return {row.id: rows.compose(row) for row in table(name, scale).rows if not row.waits}


@functools.cache
def table(name: str, scale: str | None = None) -> Schedule:
    return schedule.load(name).scaled(scale, rows.compose)


FIRM = [
    pytest.param(name, scale, row.id, id=f"{name}{f'-{scale}' if scale else ''}-{row.id}")
    for name, scale in (
        ("hundred", None),
        ("hundred", "demo"),
        ("hundred", "full"),
        ("production", None),
        ("smoke", None),
    )
    for row in schedule.load(name).rows
    if not row.waits
]


def test_the_hundred_are_counted_as_planned() -> None:
    hundred = table("hundred").rows
    assert len(hundred) == 100
    assert Counter(row.week for row in hundred) == {1: 15, 2: 30, 3: 20, 4: 20, 5: 15}
    weeks = {week: Counter(row.arch for row in hundred if row.week == week and not row.waits) for week in (1, 2, 3, 4)}
    assert weeks[1] == {"lstm": 7, "gru": 8}
    assert weeks[2] == {"mamba2": 10, "s4": 8, "rwkv": 8, "mamba2_attention": 4}
    assert weeks[3] == {"distilgpt2": 8, "linformer": 6, "performer": 6}
    assert weeks[4] == {"hyena": 6, "retnet": 8, "lcm_base": 4, "lcm_two_tower": 2}
    deep = [row for row in hundred if row.id.startswith("w1-deep")]
    assert len(deep) == 5
    assert {o for row in deep for o in row.overrides if "layers" in o} == {f"arch.layers={n}" for n in (4, 5, 6)}
    mamba = [[o for o in row.overrides if "width" in o or "layers" in o] for row in hundred if "-mamba2-" in row.id]
    grid = [[f"arch.width={w}", f"arch.layers={n}"] for w in (256, 512, 768) for n in (6, 12, 18)]
    assert all(one in mamba for one in grid)
    losses = Counter(
        "diffusion" if "loss=diffusion" in r.overrides else "regression" for r in hundred if "-lcm-" in r.id
    )
    assert losses == {"diffusion": 3, "regression": 3}


def test_week_5_is_nine_seeds_three_ensembles_and_three_finals_in_this_order() -> None:
    last = [row for row in table("hundred").rows if row.week == 5]
    seeds = [(row.source, o) for row in last for o in row.overrides if o.startswith("seed=")]
    assert Counter(source for source, _ in seeds) == {"best1": 3, "best2": 3, "best3": 3}
    assert len(set(seeds)) == 9
    kinds = [(row.phase, row.id.split("-")[1].rstrip("123")) for row in last]
    assert Counter(kinds) == {(5, "best"): 9, (6, "ensemble"): 3, (7, "final"): 3}
    assert [phase for phase, _ in kinds] == sorted(phase for phase, _ in kinds)
    assert all(row.waits for row in last)
    assert not any(row.waits for row in table("hundred").rows if row.week < 5)


def test_smoke_has_every_arch_and_production_the_four_that_serve() -> None:
    there = {file.stem for file in (conf.conf_dir() / "arch").glob("*.yaml")}
    assert {row.arch for row in table("smoke").rows} == there
    assert {row.arch for row in table("production").rows} == {"transformer", "gru", "lstm", "amn"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale", "row_id"), FIRM)
def test_every_row_composes_and_settings_accept_it(name: str, scale: str | None, row_id: str) -> None:
    row = next(row for row in table(name, scale).rows if row.id == row_id)
    config = composed(name, scale)[row_id]
    settings(config)
    assert config["arch"]["name"] == row.arch
    assert config["run"]["keep_last"] is False


@pytest.mark.slow
@pytest.mark.parametrize("scale", [None, "demo", "full"])
def test_no_two_rows_are_the_same_run(scale: str | None) -> None:
    seen: dict[str, str] = {}
    for row_id, config in composed("hundred", scale).items():
        computes = json.dumps(computing(config), sort_keys=True)
        assert computes not in seen, (row_id, seen.get(computes))
        seen[computes] = row_id


def test_references_take_what_the_row_says() -> None:
    """conf/head/dual.yaml has taps: ${data.context_length}; a row that repeats must not seem to be another run."""
    row = schedule.Row("longer", 1, 1, ["arch=gru", "data.context_length=16"], None)
    rows.register(row, Path("sweep"))
    theirs = composing.compose("train", ["+run_id=longer"])
    ours = rows.compose(row)
    assert ours["head"] == theirs["head"]
    assert ours["head"]["taps"] == 16


@pytest.mark.parametrize("row_id", ["w1-lstm-512-lr5e-4", "w2-hybrid-256x12", "w4-lcm-two-tower-large"])
@pytest.mark.slow
def test_a_rows_config_is_what_hydra_composes(row_id: str) -> None:
    row = next(row for row in table("hundred", "demo").rows if row.id == row_id)
    ours = rows.compose(row, ("device=cpu", "seed=3"))
    rows.register(row, Path("sweep"))
    theirs = composing.compose("train", [f"+run_id={row.id}", "device=cpu", "seed=3"])
    assert theirs["run"].pop("dir") == f"sweep/{row_id}"
    ours["run"].pop("dir")
    assert theirs == ours
    assert theirs["seed"] == 3


@pytest.mark.slow
def test_demo_shrinks_by_its_rules() -> None:
    full, demo = composed("hundred", None), composed("hundred", "demo")
    assert (full["w2-mamba2-768x18"]["arch"]["width"], full["w2-mamba2-768x18"]["arch"]["layers"]) == (768, 18)
    assert (demo["w2-mamba2-768x18"]["arch"]["width"], demo["w2-mamba2-768x18"]["arch"]["layers"]) == (96, 9)
    for row_id, config in demo.items():
        assert config["trainer"]["max_epochs"] < full[row_id]["trainer"]["max_epochs"]
        assert config["arch"]["width"] == full[row_id]["arch"]["width"] / 8
        assert config["trainer"]["optim"]["lr"] == pytest.approx(5 * full[row_id]["trainer"]["optim"]["lr"])
        assert config["data"]["dim"] < 768
    # 13 half up.
    assert demo["w4-lcm-two-tower-large"]["head"]["layers"] == 7
    assert demo["w1-lstm-256"]["head"]["hidden"] == 128


def test_a_scale_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match="no scale tiny; there is demo, full"):
        schedule.load("hundred").scaled("tiny", rows.compose)
    with pytest.raises(UserError, match="no scale demo; it has none"):
        schedule.load("smoke").scaled("demo", rows.compose)


@pytest.mark.parametrize(
    ("request_keys", "count"),
    [
        ({}, 100),
        ({"week": 2}, 30),
        ({"only": "w2-*"}, 30),
        ({"only": "*-mamba2-*,w5-final*"}, 13),
        ({"week": 3, "only": "*performer*"}, 6),
        ({"ids": ["w1-gru-256"]}, 1),
        ({"ids": ["w1-gru-256", "w5-final-fold0"]}, 2),
    ],
)
def test_rows_are_chosen_by_week_glob_and_name(request_keys: dict[str, Any], count: int) -> None:
    assert len(table("hundred").select(Request("hundred", **request_keys))) == count


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["schedule=nope"], "schedule=nope does not exist; choose one of hundred, production, smoke."),
        (["schedule=hundred", "schedule.wek=2"], "schedule.wek does not exist (did you mean week?)"),
        (["schedule=hundred", "schedule.week=two"], "schedule.week='two' does not fit; give it a whole number or null"),
        (
            ["schedule=hundred", "schedule.week=9"],
            "no row of schedule=hundred is asked for; its weeks are 1, 2, 3, 4, 5",
        ),
        (["schedule=hundred", "schedule.only=x*"], "no row of schedule=hundred is asked for"),
        (
            ["schedule=hundred", "schedule.best=all"],
            "schedule.best='all' does not fit; give it one of passed, any or null",
        ),
        (["schedule=hundred", "schedule.scale=tiny"], "schedule=hundred has no scale tiny"),
        (["schedule=hundred", "run_id=w1-lstm-255"], "run_id=w1-lstm-255 is no row of schedule=hundred (did you mean"),
        (["run_id=w1-lstm-256"], "run_id=w1-lstm-256 needs a schedule; add schedule=NAME"),
        (["schedule.week=2"], "schedule.week=2 needs a schedule"),
        (["schedule=hundred", "run.dir=x"], "run.dir is a row's own in a schedule; set schedule.dir instead."),
        (["schedule=hundred", "arch.widht=3"], "row w1-lstm-256: arch.widht does not exist (did you mean width?)"),
        (["schedule=hundred", "arch=nope"], "row w1-lstm-256: arch=nope does not exist; choose one of amn, "),
        (
            ["schedule=hundred", "schedule.week=5"],
            "w5-best1-seed1 takes the best of the earlier rows, and w1-lstm-256 is",
        ),
        (
            ["schedule=hundred", "run_id=w5-final-fold0"],
            "w5-final-fold0 takes the best of the earlier rows, and w1-lstm",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_before_anything_runs(tmp_path: Path, arguments: list[str], said: str) -> None:
    refused = call(tmp_path, "-m", *arguments)
    assert refused.code == 2
    assert said in refused.sentence
    assert tree(tmp_path) == {}


def test_a_table_is_run_by_m_and_one_row_by_name(tmp_path: Path) -> None:
    refused = call(tmp_path, "schedule=hundred")
    assert refused.code == 2
    assert refused.sentence.startswith("schedule=hundred is a table of 100 runs; put -m before it to run them, or name")


TABLES = {
    "no rows": ("common: []", "has no rows"),
    "unknown key": ("rows: [{id: a}]\nrow: 3", "row does not exist (did you mean rows?)"),
    "no id": ("rows: [{week: 1}]", "has a row without an id"),
    "bad id": ("rows: [{id: a/b}]", "row a/b: an id is a letter and then"),
    "unknown key of a row": (
        "rows: [{id: a, overides: []}]",
        "row a: overides does not exist (did you mean overrides?)",
    ),
    "duplicate id": ("rows: [{id: a}, {id: b}, {id: a}]", "several rows called a; give each row an id of its own."),
    "bad week": ("rows: [{id: a, week: one}]", "row a.week='one' does not fit"),
    "bad source": ("rows: [{id: a, from: best4}]", "row a: from=best4 does not exist; choose best1, best2 or best3."),
    "no YAML": ("rows: [", "is no YAML"),
    "bad best": ("best: good\nrows: [{id: a}]", "best='good' does not fit; give it one of passed, any"),
    "bad scale": ("scales: {demo: {sett: []}}\nrows: [{id: a}]", "scales.demo.sett does not exist (did you mean set?)"),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_a_table_that_is_none_is_told(tmp_path: Path, mistake: str) -> None:
    text, said = TABLES[mistake]
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        schedule.read(tmp_path / "mine.yaml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "arch.widht=3",
            "row a: arch.widht does not exist (did you mean width?); in arch there are dropout, layers, width.",
        ),
        ("5cat.max_window=3", "row a: 5cat.max_window does not exist (did you mean max_windows?)"),
        ("arch=nope", "row a: arch=nope does not exist; choose one of amn, "),
        ("arch.width=3,4", "row a: arch.width=3,4 cannot stand in a row"),
        ("+arch.more=1", "row a: +arch.more=1 cannot stand in a row"),
        ("~arch", "row a: ~arch cannot stand in a row"),
        ("arch=gru=3", "row a: 'arch=gru=3' is no setting"),
        ("run.dir=x", "row a: run.dir=x cannot stand in a row"),
    ],
)
def test_a_row_that_does_not_compose_is_told(tmp_path: Path, override: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(json.dumps({"rows": [{"id": "a", "overrides": ["arch=gru", override]}]}))
    (row,) = schedule.read(tmp_path / "mine.yaml").scaled(None, rows.compose).rows
    with pytest.raises(UserError) as refused:
        rows.compose(row)
    assert said in str(refused.value)


def test_rows_take_the_spelling_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text('common: ["5cat=strict"]\nrows: [{id: a, overrides: [arch=gru, 5cat.seed=4]}]')
    (row,) = schedule.read(tmp_path / "mine.yaml").scaled(None, rows.compose).rows
    config = rows.compose(row)
    assert (config["five_cat"]["name"], config["five_cat"]["seed"]) == ("strict", 4)


def test_one_row_is_shown_by_cfg_and_help_does_not_list_the_rows(tmp_path: Path) -> None:
    shown = call(tmp_path, "schedule=hundred", "run_id=w2-mamba2-512x6", "--cfg", "job")
    assert shown.code == 0, shown.err
    assert "width: 512" in shown.out
    assert "dir: multirun/hundred/w2-mamba2-512x6" in shown.out
    for arguments in (["--help"], ["schedule=hundred", "--help"]):
        helped = call(tmp_path, *arguments)
        assert helped.code == 0
        assert "schedule: hundred, production, smoke" in helped.out
        assert "w1-lstm-256" not in helped.out
    assert tree(tmp_path) == {}
