"""What classes take, read without importing them, is what they take; mistyped values are told with their place."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvm_lab.config import signatures
from lvm_lab.config.conf import conf_dir, groups
from lvm_lab.errors import UserError


def without_references(node: Any) -> Any:
    """A config whose references, which are numbers once it is resolved, are left out."""
    if isinstance(node, dict):
        return {key: without_references(value) for key, value in node.items() if not str(value).startswith("${")}
    return node


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every node below that names a class."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from nodes(value)


FILES = sorted(file for group in groups() for file in (conf_dir() / group).glob("*.yaml"))
SHIPPED = [node for file in FILES for node in nodes(yaml.safe_load(file.read_text()))]
TARGETS = sorted({node["_target_"] for node in SHIPPED if node["_target_"].startswith("lvm_lab.")})


@pytest.mark.parametrize("target", TARGETS)
def test_they_are_what_the_class_says_when_it_is_imported(target: str) -> None:
    module, _, name = target.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    # What a dataclass inherits is written in the words of another module.
    hints = typing.get_type_hints(kind if dataclasses.is_dataclass(kind) else kind.__init__)
    read = signatures.parameter_types(target)
    assert read == {key: hints[key] for key in read}
    # Code adds what is no number or word, such as statistics and members; the rest can be checked.
    plain = {int, float, str, bool}
    assert {key for key, hint in hints.items() if hint in plain and key in inspect.signature(kind).parameters} <= set(
        read
    )


@pytest.mark.parametrize("node", SHIPPED, ids=lambda node: node["_target_"].rpartition(".")[2])
def test_what_is_shipped_fits(node: dict[str, Any]) -> None:
    signatures.check_types({"node": without_references(node)})


def test_a_mistyped_value_is_told_with_its_place() -> None:
    terms = {"moment": {"_target_": "lvm_lab.losses.moment.Moment", "weight": 1.0}}
    config = {"arch": {"_target_": "lvm_lab.archs.gru.GRU", "width": "abc"}, "loss": {"terms": terms}}
    with pytest.raises(UserError, match=r"^arch\.width='abc' does not fit; give it a whole number\.$"):
        signatures.check_types(config)


def test_somebody_elses_class_is_left_to_whoever_builds_it() -> None:
    assert signatures.parameter_types("json.decoder.JSONDecoder") == {}
    signatures.check_types({"arch": {"_target_": "nowhere.Net", "width": "abc"}})


def test_no_class_is_imported() -> None:
    code = "import sys; from lvm_lab.config.signatures import parameter_types as p; "
    code += "print(p('lvm_lab.archs.gru.GRU')['width']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert (done.returncode, done.stdout) == (0, "<class 'int'>\n"), done.stderr
