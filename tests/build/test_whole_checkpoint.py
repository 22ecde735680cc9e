"""A checkpoint of ours that lacks something is one sentence that names it, never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lvm_lab
from lvm_lab.errors import UserError

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "schema1" / "checkpoints" / "gru-linear.ckpt"


def without(saved: dict[str, Any], *path: str) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return saved | {first: without(saved[first], *rest)}
    return {key: value for key, value in saved.items() if key != first}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("state_dict",), "state_dict is missing"),
        (("state_dict", "mean_D"), "state_dict.mean_D is missing"),
        (("lvm_lab", "config"), "config is missing"),
        (("lvm_lab", "config", "head"), "config.head is missing"),
        (("lvm_lab", "golden_output"), "lvm_lab.golden_output is missing"),
        (("lvm_lab", "contract"), "lvm_lab.contract is missing"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_missing_is_named(path: tuple[str, ...], words: str, tmp_path: Path) -> None:
    torch.save(without(torch.load(CHECKPOINT, weights_only=True), *path), tmp_path / "torn.ckpt")
    with pytest.raises(UserError, match=words):
        lvm_lab.load(tmp_path / "torn.ckpt")


@pytest.mark.parametrize(
    ("field", "value"), [("probes", None), ("probes", {"hello": ["a"]}), ("dim", "eight"), ("colour", "red")]
)
def test_a_contract_of_wrong_types_is_told(field: str, value: object, tmp_path: Path) -> None:
    saved = torch.load(CHECKPOINT, weights_only=True)
    saved["lvm_lab"]["contract"] |= {field: value}
    torch.save(saved, tmp_path / "odd.ckpt")
    with pytest.raises(
        UserError, match=rf"describes no model that can be made \(.*contract.{field}.*; take another one"
    ):
        lvm_lab.load(tmp_path / "odd.ckpt")


def test_an_identity_that_is_none_is_told(tmp_path: Path) -> None:
    saved = torch.load(CHECKPOINT, weights_only=True) | {"lvm_lab": "a model"}
    torch.save(saved, tmp_path / "text.ckpt")
    with pytest.raises(UserError, match="lvm_lab is missing"):
        lvm_lab.load(tmp_path / "text.ckpt")
