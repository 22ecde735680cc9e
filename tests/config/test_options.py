"""One file, one option: what stands in a room of parts is what its group of conf/ offers, under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lvm_lab.config.conf import conf_dir

PACKAGE = Path(__file__).parents[2] / "src" / "lvm_lab"
# Files of a room that are no part.
BASES = {
    "loggers": {"base", "dashboard"},
    "training/callbacks": {"base", "assembly"},
    "training/strategies": {"base"},
}
# Options that make no part.
NO_PARTS = {"logger": {"none"}, "callbacks": {"default"}, "strategy": {"none"}}


def parts(room: str) -> set[str]:
    return {file.stem for file in (PACKAGE / room).glob("[a-z]*.py")} - BASES.get(room, set())


def options(group: str) -> dict[str, Any]:
    files = (file for file in (conf_dir() / group).glob("*.yaml") if file.stem not in NO_PARTS.get(group, set()))
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


def modules(node: Any) -> set[str]:
    """Of every class below a node, the module without the package."""
    if not isinstance(node, dict):
        return set()
    own = {node["_target_"].rpartition(".")[0].removeprefix("lvm_lab.")} if "_target_" in node else set()
    return own.union(*map(modules, node.values()))


@pytest.mark.parametrize(
    ("room", "group"),
    [
        ("archs", "arch"),
        ("data/sources", "data"),
        ("loggers", "logger"),
        ("training/callbacks", "callbacks"),
        ("training/strategies", "strategy"),
        ("text/readers", "reader"),
        ("text/chunkers", "chunker"),
        ("text/encoders", "encoder"),
        ("text/decoders", "decoder"),
    ],
)
def test_a_part_is_a_file_and_the_option_of_its_name(room: str, group: str) -> None:
    assert parts(room) == set(options(group))
    for stem, node in options(group).items():
        assert modules(node) == {f"{room.replace('/', '.')}.{stem}"}


def test_a_head_is_a_file_and_one_option_or_several() -> None:
    nodes = options("head")
    assert parts("heads") <= set(nodes)
    assert {module for node in nodes.values() for module in modules(node)} == {
        f"heads.{stem}" for stem in parts("heads")
    }


def test_every_loss_term_is_in_an_option() -> None:
    used = {module for node in options("loss").values() for module in modules(node)}
    assert used == {f"losses.{stem}" for stem in parts("losses")}
