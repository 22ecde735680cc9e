"""What a `_target_` may build: classes of the lab's own rooms, and of packages that the caller names, never a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lvm_lab
from helpers.commands import TINY, call
from lvm_lab import diagnose, evaluate
from lvm_lab.config import targets
from lvm_lab.config.signatures import check_types
from lvm_lab.errors import UserError

SCHEMA1 = Path(__file__).parents[1] / "fixtures" / "schema1"
FILE_HANDLER = {"mode": "w", "filename": "precious.txt"}
FOREIGN = (
    "logging.FileHandler",
    "lvm_lab.logs.logging.FileHandler",
    "lvm_lab.config.targets.importlib.import_module",
    "os.system",
    "never_imported.Class",
)
ROOMS = tuple(targets.CONTRACTS)
PACKAGE = """
from torch import nn
from logging import FileHandler
from lvm_lab.archs.gru import GRU as Theirs

class Mine(Theirs):
    pass

class NoArch:
    pass

class NoWidth(nn.Module):
    causal = True
    def __init__(self, dim, context_length, width=1, layers=1, dropout=0.0):
        super().__init__()
    def forward(self, x_BLD):
        return x_BLD
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with a package of their own and a file that is dear to them."""
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("from my_package.archs import Mine\n")
    (tmp_path / "my_package" / "archs.py").write_text(PACKAGE)
    (tmp_path / "never_imported.py").write_text("open('precious.txt', 'w').close()\nclass Class: pass\n")
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such day')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert (tmp_path / "precious.txt").read_text() == "precious"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_package", "never_imported", "broken")]:
        del sys.modules[name]


def changed(home: Path, change: Callable[[dict[str, Any]], None], name: str = "gru") -> Path:
    """An old checkpoint whose config was tampered with."""
    checkpoint = torch.load(SCHEMA1 / "checkpoints" / f"{name}.ckpt", weights_only=True)
    change(checkpoint["lvm_lab"]["config"])
    torch.save(checkpoint, home / "evil.ckpt")
    return home / "evil.ckpt"


def node(target: str) -> dict[str, Any]:
    return {"name": "gru", "_target_": target} | (FILE_HANDLER if "FileHandler" in target else {})


def put(group: str, target: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        if group == "loss":
            config["loss"]["terms"]["x"] = node(target)
        elif group == "five_cat":
            config["five_cat"]["gates"] = [node(target)] * 5
        elif group in ("logger", "callbacks"):
            config[group] = {"x": node(target)}
        elif group == "data":
            kept = {key: config["data"][key] for key in ("context_length", "max_per_doc", "fold", "gate")}
            config["data"] = kept | node(target)
        elif group == "members":
            config["arch"]["members"][0]["config"]["arch"] = node(target)
        else:
            config[group] = node(target)

    return change


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("room", ROOMS)
def test_a_file_may_name_no_class_from_elsewhere(home: Path, room: str, target: str) -> None:
    with pytest.raises(UserError, match=r"is of a package that is not allowed here|is no .* of lvm_lab; name a class"):
        targets.make(node(target), room, "some.setting")
    assert "never_imported" not in sys.modules


@pytest.mark.parametrize(
    ("room", "target", "words"),
    [
        ("losses", "lvm_lab.archs.gru.GRU", "is no loss term of lvm_lab; name a class, as the options of lvm_lab.loss"),
        ("archs", "lvm_lab.archs.gru.nn", "is no class"),
        ("archs", "lvm_lab.archs.amn.Tensor", "is defined elsewhere, as torch.Tensor"),
        ("judge.gates", "lvm_lab.judge.gates.offsets.Gate", "is defined elsewhere, as lvm_lab.judge.gate.Gate"),
        ("data.sources", "lvm_lab.data.sources.npz.importlib.Npz", "cannot be imported"),
    ],
)
def test_a_name_within_the_lab_is_not_enough(room: str, target: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        targets.resolve(target, room, "some.setting", ["lvm_lab"])


@pytest.mark.parametrize("target", ["logging.FileHandler", "lvm_lab.logs.logging.FileHandler", "never_imported.Class"])
@pytest.mark.parametrize("group", ["arch", "head", "members"])
def test_a_model_that_names_a_foreign_class_is_not_loaded(home: Path, group: str, target: str) -> None:
    file = changed(home, put(group, target), "ensemble" if group == "members" else "gru")
    with pytest.raises(UserError, match=r"not allowed here|of lvm_lab; name a class"):
        lvm_lab.load(file)
    with pytest.raises(UserError, match=r"not allowed here|of lvm_lab; name a class"):
        lvm_lab.load(file, allow=["my_package"])
    assert "never_imported" not in sys.modules


@pytest.mark.parametrize("group", ["arch", "data"])
def test_no_command_builds_what_a_checkpoint_names(home: Path, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = changed(home, put(group, "logging.FileHandler"))
    assert diagnose.main([str(file), "--device", "cpu"]) == 2
    sentence = capsys.readouterr().err.strip()
    assert sentence.startswith(f"error: {group}._target_=logging.FileHandler is of a package that is not allowed here")
    assert "\n" not in sentence
    judged = call(home, str(file), "device=cpu", "cache=cache", main=evaluate.main)
    assert judged.code == 2
    assert f"{group}._target_=logging.FileHandler is of a package" in judged.err
    assert "Traceback" not in judged.err


@pytest.mark.parametrize("group", ["loss", "five_cat", "logger", "callbacks"])
def test_what_a_model_does_without_is_not_built_at_all(home: Path, group: str) -> None:
    for target in ("logging.FileHandler", "never_imported.Class"):
        assert lvm_lab.load(changed(home, put(group, target))).context_length == 5
        diagnose.main([str(home / "evil.ckpt"), "--device", "cpu", "--windows", "20"])
    assert "never_imported" not in sys.modules


@pytest.mark.slow
def test_a_package_is_allowed_by_the_caller_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(config: dict[str, Any]) -> None:
        config["arch"]["_target_"] = "my_package.archs.Mine"
        config["run"]["allow"] = ["my_package"]

    file = changed(home, change)
    with pytest.raises(UserError, match="if you trust it, allow my_package: "):
        lvm_lab.load(file)
    assert "my_package" not in sys.modules
    assert diagnose.main([str(file), "--device", "cpu", "--windows", "20"]) == 2
    assert "my_package" not in sys.modules
    for allow in (["my_package"], ["my_package.archs"], ["other", "my_package.archs.Mine"]):
        assert type(lvm_lab.load(file, allow=allow).backbone).__name__ == "Mine"
    assert diagnose.main([str(file), "--device", "cpu", "--windows", "20", "--allow", "my_package"]) == 0, capsys
    judged = call(home, str(file), "allow=[my_package]", "device=cpu", "5cat=smoke", "cache=cache", main=evaluate.main)
    assert judged.code == 0, judged.err


@pytest.mark.parametrize("allow", [["my_pack"], ["my_package.other"], ["archs"], [""], "m"])
def test_a_name_that_begins_alike_is_not_allowed(home: Path, allow: Any) -> None:
    with pytest.raises(UserError, match="not allowed here"):
        targets.resolve("my_package.archs.Mine", "archs", "arch", allow)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("my_package.archs.FileHandler", "is defined elsewhere, as logging.FileHandler"),
        ("my_package.archs.Theirs", "is defined elsewhere, as lvm_lab.archs.gru.GRU"),
        ("my_package.archs.NoArch", "is no arch; derive it from torch.nn.Module"),
        ("my_package.archs.NoWidth", "has no width; derive it from torch.nn.Module"),
        ("my_package.archs.Nobody", "cannot be imported"),
    ],
)
def test_an_allowed_package_lends_its_name_to_nothing_else(home: Path, target: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        targets.make({"_target_": target}, "archs", "arch", allow=["my_package"], dim=4, context_length=5)


def test_a_class_may_be_named_by_its_package(home: Path) -> None:
    assert targets.resolve("my_package.Mine", "archs", "arch", ["my_package"]).__module__ == "my_package.archs"


@pytest.mark.parametrize(
    "setting",
    [
        "arch._target_=nowhere.Net",
        "arch._target_=broken.Net",
        "arch._target_=logging.FileHandler",
        "arch._target_=lvm_lab.logs.logging.FileHandler",
        "loss.terms.infonce._target_=lvm_lab.archs.gru.GRU",
        "data._target_=broken.Source",
        "head._target_=math.sqrt",
        "5cat.gates=[{_target_: broken.Gate}]",
        "5cat.gates=[{_target_: lvm_lab.judge.options.importlib}]",
        "5cat.baselines=[{_target_: broken.Baseline}]",
        "+logger.x._target_=broken.Logger",
        "+logger.x._target_=collections.OrderedDict",
        "+callbacks.x._target_=lvm_lab.logs.logging.FileHandler",
    ],
)
def test_a_wrong_target_on_the_command_line_is_one_sentence(home: Path, setting: str) -> None:
    more = ("5cat.required=1",) if "gates" in setting else ()
    outcome = call(home, *TINY, setting, *more, "run.cache=cache")
    assert outcome.code == 2
    assert "_target_=" in outcome.sentence
    assert not (home / "outputs").exists()


def test_a_row_s_settings_may_name_what_is_no_module() -> None:
    check_types({"arch": {"_target_": "lvm_lab.logs.logging.FileHandler", "width": "abc"}})
