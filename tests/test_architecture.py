"""docs/architecture.md is true: its picture is the contract of imports, its rooms and files are the package's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "lvm_lab"
TEXT = (ROOT / "docs" / "architecture.md").read_text()


def picture() -> list[list[str]]:
    """The rooms of each layer, from the top down."""
    layers: list[list[str]] = []
    for line in TEXT.split("```")[1].removeprefix("text").strip("\n").splitlines():
        match = re.fullmatch(r"(..)  (\S+) +(\S.*)", line)
        assert match, line
        if match[1].strip():
            layers.append([])
            assert int(match[1]) == len(layers)
        layers[-1].append(match[2])
    return layers


def test_the_picture_is_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [[room for room in layer if "/" not in room] for layer in picture()]
    assert rooms == [re.split(r" [|:] ", layer) for layer in layers]


def test_every_folder_and_every_file_at_the_top_is_in_the_picture() -> None:
    names = [name for layer in picture() for name in layer]
    folders = {str(file.parent.relative_to(PACKAGE)) for file in PACKAGE.rglob("*/__init__.py")}
    files = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    assert sorted(names) == sorted(folders | files)
    for layer in picture():
        for place, name in enumerate(layer):
            assert name.partition("/")[0] in layer[: place + 1], "a folder within a room stands below it"


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`([\w/]+\.(?:py|yaml))`", TEXT))
    assert len(named) > 30
    assert [name for name in named if not (PACKAGE / name).is_file() and not (ROOT / name).is_file()] == []
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if not (ROOT / "docs" / link).is_file()] == []
