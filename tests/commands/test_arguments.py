"""A command line as people type it: any order, files by name, paths with whatever characters, one's own settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from helpers.commands import TINY, call
from lvm_lab import check_data, evaluate, status
from lvm_lab.commands import composing
from lvm_lab.commands.arguments import Files, sort
from lvm_lab.commands.values import written
from lvm_lab.config import conf

NASTY = st.text(
    st.sampled_from("=,[]{}()'\"\\ $~:+-.*?!#%&;|<>@^`éß漢\t01aexn") | st.characters(exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=12,
).filter(lambda name: "/" not in name and name not in (".", ".."))


def value(word: str) -> Any:
    """What a setting's key holds once Hydra and OmegaConf have read it."""
    override = OverridesParser.create().parse_override(word)
    assert not override.is_sweep_override(), word
    node = OmegaConf.create({"key": None})
    node.key = override.value()
    return OmegaConf.to_container(node, resolve=True)["key"]  # type: ignore[index,call-overload]


@given(NASTY)
@settings(max_examples=50)
def test_any_file_can_be_named(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch()
    path = str(file)
    (word,) = sort([f"data.path={path}"]).words()
    assert value(word) == path
    (word,) = sort([f"arch.members=[{path},other.ckpt]"]).words()
    assert value(word) == [path, "other.ckpt"]
    (word,) = sort([path], ["data"]).words(Files("checkpoints"))
    assert value(word) == [path]
    (word,) = sort([path], ["arch"]).words(Files("data.path", implies="data=npz"))[1:]
    assert value(word) == path


@given(st.lists(st.text("=,[]{}()'\" $ab1:\\", max_size=8), min_size=1, max_size=3).map("/x".join))
def test_what_is_no_file_is_one_text_or_several_values(text: str) -> None:
    """Nothing that is typed breaks the grammar, whatever it then means."""
    OverridesParser.create().parse_override(f"data.path={written(text)}")


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("run.dir=out=1", "out=1"),
        ("run.dir=[draft] x", "[draft] x"),
        ("run.dir=ünter/ñ", "ünter/ñ"),
        ("run.dir=it's", "it's"),
        ("run.dir='a,b'", "a,b"),
        ("run.dir=$HOME/x", "/home/me/x"),
        ("run.dir=${HOME}/x", "/home/me/x"),
        ("run.dir=~/x y", "/home/me/x y"),
        ("run.dir=~", "/home/me"),
        ("ood=[~/a.npz,b=1.npz]", ["/home/me/a.npz", "b=1.npz"]),
        ("arch.members=[outputs/x/checkpoints/epoch=04.ckpt]", ["outputs/x/checkpoints/epoch=04.ckpt"]),
        ("seed=3", 3),
        ("data.speeds=[0.1, 2]", [0.1, 2]),
        ("run.keep_last=false", False),
        ("run.cache=null", None),
        ("five_cat.thresholds.a={val: 1}", {"val": 1}),
    ],
)
def test_values(monkeypatch: pytest.MonkeyPatch, typed: str, read: Any) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (word,) = sort([typed]).words()
    assert value(word) == read


def test_values_for_several_runs_stay_several() -> None:
    (word,) = sort(["data.path=a.npz,b=1.npz"]).words()
    override = OverridesParser.create().parse_override(word)
    assert list(override.sweep_string_iterator()) == ["a.npz", "'b=1.npz'"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["a", "b/c.ckpt", "ood=[x]"], ["ood=[x]", "k=['a','b/c.ckpt']"]),
        (["ood=[x]", "a", "b/c.ckpt"], ["ood=[x]", "k=['a','b/c.ckpt']"]),
        (["./epoch=04.ckpt", "runs/*/epoch=0?.ckpt"], ["k=['./epoch=04.ckpt','runs/*/epoch=0?.ckpt']"]),
        (["epoch=05.ckpt"], ["epoch=05.ckpt"]),
        (["epoch=04.ckpt"], ["k=['epoch=04.ckpt']"]),
        (["x=1"], ["x=1"]),
        (["hydra/launcher=joblib", "~five_cat", "+x=1"], ["hydra/launcher=joblib", "~five_cat", "+x=1"]),
        (["--cfg", "job", "a"], ["--cfg=job", "k=['a']"]),
        (["a", "-c", "job", "x=1", "b", "-m"], ["--cfg=job", "-m", "x=1", "k=['a','b']"]),
        (["a", "--info", "x=1"], ["--info=all", "x=1", "k=['a']"]),
        (["x=1", "--", "-odd", "y=2"], ["x=1", "k=['-odd','y=2']"]),
        (["-m", "it's, [odd]"], ["-m", r"k=['it\'s, [odd]']"]),
    ],
)
def test_flags_settings_and_files_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], read: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("epoch=04.ckpt", "x=1"):
        Path(name).touch()
    assert sort(typed, ["x", "ood"]).words(Files("k")) == read


def test_flags_between_settings(tmp_path: Path) -> None:
    shown = call(tmp_path, "arch=gru", "--cfg", "job", "seed=5")
    assert (shown.code, shown.err) == (0, "")
    assert "seed: 5" in shown.out
    assert "lvm_lab.archs.gru.GRU" in shown.out


def test_evaluate_takes_checkpoints_anywhere(tmp_path: Path) -> None:
    (tmp_path / "epoch=04.ckpt").touch()
    for arguments in (
        ["ood=[x.npz]", "epoch=04.ckpt", "--cfg", "job"],
        ["epoch=04.ckpt", "--cfg", "job", "ood=[x.npz]"],
    ):
        shown = call(tmp_path, *arguments, main=evaluate.main)
        assert "checkpoints:\n- epoch=04.ckpt\n" in shown.out, shown.err


def test_check_data_takes_a_file(tmp_path: Path) -> None:
    shown = call(tmp_path, "my vectors.npz", "--cfg", "job", main=check_data.main)
    assert "path: my vectors.npz" in shown.out, shown.err
    assert "name: npz" in shown.out
    refused = call(tmp_path, "my vectors.npz", main=check_data.main)
    assert refused.sentence == "my vectors.npz does not exist; check the path."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run.dir=a,b"], "or quote what is one text: \"run.dir='a,b'\"."),
        (["vectors.npz"], "vectors.npz is a file and no setting; to train on it write data=npz data.path=vectors.npz."),
        (["5cat.max_windows=abc"], "5cat.max_windows='abc' does not fit"),
    ],
)
def test_a_mistake_shows_what_to_type(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "vectors.npz").touch()
    assert sentence in call(tmp_path, *TINY, "run.cache=cache", *arguments).sentence


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conf/ whose local folder may be written."""
    folder = tmp_path / "conf"
    folder.mkdir()
    for item in conf.conf_dir().iterdir():
        if item.name != "local":
            (folder / item.name).symlink_to(item)
    (folder / "local").mkdir()
    for place in ("commands.launch", "commands.composing", "commands.helping", "config.conf"):
        monkeypatch.setattr(f"lvm_lab.{place}.conf_dir", lambda: folder)
    return folder / "local"


@pytest.mark.parametrize("header", ["", "# @package _global_\n"])
@pytest.mark.parametrize(("name", "arguments"), [("default", []), ("mine", ["local=mine"])])
def test_own_settings_are_plain(tmp_path: Path, home: Path, header: str, name: str, arguments: list[str]) -> None:
    (home / f"{name}.yaml").write_text(f"{header}seed: 3\ntrainer: {{max_epochs: 7}}\n")
    shown = call(tmp_path, *arguments, "--cfg", "job")
    assert shown.code == 0, shown.err
    assert "seed: 3\n" in shown.out
    assert "max_epochs: 7" in shown.out
    assert "batch_size: 256" in shown.out


def test_own_settings_of_evaluate_and_of_a_folder(tmp_path: Path, home: Path) -> None:
    (home / "evaluate.yaml").write_text("out: elsewhere\n")
    assert "out: elsewhere" in call(tmp_path, "a", "--cfg", "job", main=evaluate.main).out
    (tmp_path / "own" / "local").mkdir(parents=True)
    (tmp_path / "own" / "local" / "mine.yaml").write_text("seed: 4\n")
    shown = call(tmp_path, "local=mine", "--config-dir", "own", "--cfg", "job")
    assert "seed: 4\n" in shown.out, shown.err


def test_paths_in_own_files_are_expanded(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (home / "default.yaml").write_text("run: {root: ~/runs, cache: $HOME/cache}\n")
    config = composing.compose("train", [])
    assert (config["run"]["root"], config["run"]["cache"]) == ("/home/me/runs", "/home/me/cache")


@pytest.mark.parametrize("main", [evaluate.main, check_data.main])
def test_help_is_short_and_shows_the_comments(tmp_path: Path, main: Any) -> None:
    for one in (main, None):
        shown = call(tmp_path, "--help", **({"main": one} if one else {}))
        assert shown.code == 0
        assert len(shown.out.splitlines()) < 60
    assert "# epochs without a lower validation loss" in shown.out
    assert "[mamba2]" in shown.out
    assert os.listdir(tmp_path) == []


def test_help_lists_options_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own" / "arch").mkdir(parents=True)
    (tmp_path / "own" / "arch" / "zebra.yaml").touch()
    assert "zebra" in call(tmp_path, "--config-dir", "own", "--help").out


def test_version_is_the_labs(tmp_path: Path) -> None:
    assert call(tmp_path, "--version").out == "lvm_lab 0.1.0\n"


def test_status_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = Path(__file__).parents[1] / "fixtures" / "schema1" / "outputs"
    (run,) = outputs.iterdir()
    assert status.main([str(run)]) == 0
    shown = capsys.readouterr().out
    assert run.name[:12] in shown
    assert "checkpoint: " in shown.replace("\n", "")
    assert "no runs" not in shown
