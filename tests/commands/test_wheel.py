"""The wheel carries conf/ and works from any folder without the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT, tree

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def execute(*arguments: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without hatchling here pip fetches it into an isolated place.
    how = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    execute("-m", "pip", "wheel", ROOT, "--no-deps", *how, "-w", folder, cwd=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the wheel unpacked in it."""
    target = tmp_path_factory.mktemp("installed")
    execute("-m", "pip", "install", "--no-deps", "--target", target, wheel, cwd=target)
    return target


def test_the_wheel_holds_all_of_conf_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*.yaml") if p.parent.name != "local"}
    assert len(shipped) > 20
    assert {f"lvm_lab/{name}" for name in shipped} <= names
    board = ROOT / "src" / "lvm_lab" / "reporting" / "board"
    page = {f"lvm_lab/reporting/board/{p.name}" for p in board.iterdir() if p.suffix in (".html", ".css", ".js")}
    assert len(page) > 2
    assert page <= names
    assert not [name for name in names if name.startswith(("tests", "conf/", "outputs", "multirun", "docs"))]
    assert not [name for name in names if name.startswith("lvm_lab/conf/local/") and name.endswith(".yaml")]


def test_the_console_script_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/entry_points.txt"))
        assert "lvm-lab = lvm_lab.__main__:main" in archive.read(name).decode()
        assert "lvm-train = lvm_lab.train:main" in archive.read(name).decode()


def test_conf_is_found_from_another_folder(installed: Path, tmp_path: Path) -> None:
    found = execute(
        "-c", "from lvm_lab.config import conf; print(conf.conf_dir())", cwd=tmp_path, PYTHONPATH=str(installed)
    ).strip()
    assert Path(found) == installed / "lvm_lab" / "conf"
    arguments = ("arch=gru", "5cat=strict", "--cfg", "job")
    shown = execute("-m", "lvm_lab.train", *arguments, cwd=tmp_path, PYTHONPATH=str(installed))
    assert "_target_: lvm_lab.archs.gru.GRU" in shown
    assert "every_interval_clear: true" in shown
    where = execute("-m", "lvm_lab.train", "--info", "searchpath", cwd=tmp_path, PYTHONPATH=str(installed))
    assert str(installed) in where.replace("\n", "")
    assert str(ROOT / "conf") not in where
    assert tree(tmp_path) == {}


def test_the_installed_script_answers(installed: Path, tmp_path: Path) -> None:
    lab = installed / "bin" / "lvm-lab"
    assert execute(lab, "check-data", "--version", cwd=tmp_path, PYTHONPATH=str(installed)) == "lvm_lab 0.1.0\n"
    script = installed / "bin" / "lvm-train"
    assert "    amn, distilgpt2, " in execute(script, "--help", cwd=tmp_path, PYTHONPATH=str(installed))
