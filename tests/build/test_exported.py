"""An export is the model: `lvm_lab.load` reads it as it reads the checkpoint, and refuses what is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import lvm_lab
from lvm_lab.build import exported, seen
from lvm_lab.config.export import ExportSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs import exporting
from lvm_lab.runs import exports, reading

pytest.importorskip("safetensors")
(RUN,) = (Path(__file__).parents[1] / "fixtures" / "schema1" / "outputs").iterdir()
CHECKPOINTS = sorted((Path(__file__).parents[1] / "fixtures" / "schema1" / "checkpoints").glob("*.ckpt"))


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "mine"
    exporting.export(ExportSettings([str(RUN)], str(out)))
    return out


def test_it_is_the_model(export: Path) -> None:
    one, other = lvm_lab.load(RUN), lvm_lab.load(export)
    context_BLD = torch.randn(3, one.context_length, len(one.mean_D))
    assert torch.equal(other.predict(context_BLD).raw_ND, one.predict(context_BLD).raw_ND)
    assert (other.contract, other.config, other.loss_parameters) == (one.contract, one.config, one.loss_parameters)
    assert seen.of(other, "it").unrecorded == seen.of(one, "it").unrecorded
    assert reading.checkpoint_of(export) == export / "model.safetensors"
    assert torch.equal(lvm_lab.load(export / "model.safetensors").mean_D, one.mean_D)


def test_nothing_in_it_is_pickled_and_its_card_is_the_runs(export: Path) -> None:
    assert {item.name for item in export.iterdir()} == {"model.safetensors", "config.json", "README.md", "export.json"}
    card = (export / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: lvm_lab\n")
    assert 'lvm_lab.load("mine")' in card
    assert "## Verdict" in card
    assert "plots/" not in card
    report = json.loads((export / "export.json").read_text())
    assert set(report["files"]) == {"model.safetensors", "config.json", "README.md"}


@pytest.mark.parametrize("file", CHECKPOINTS, ids=lambda file: file.stem)
def test_every_kind_of_checkpoint_comes_back(file: Path, tmp_path: Path) -> None:
    one = lvm_lab.load(file)
    exported.write(one, tmp_path)
    other = lvm_lab.load(tmp_path)
    assert other.state_dict().keys() == one.state_dict().keys()
    assert all(torch.equal(other.state_dict()[name], x) for name, x in one.state_dict().items())


def test_what_is_damaged_or_another_format_is_refused(export: Path, tmp_path: Path) -> None:
    def broken(name: str, content: bytes) -> Path:
        copy = tmp_path / f"{name}-{len(content)}"
        shutil.copytree(export, copy)
        (copy / name).write_bytes(content)
        return copy

    weights = (export / exports.WEIGHTS).read_bytes()
    description = json.loads((export / exports.DESCRIPTION).read_text())
    later = json.dumps(description | {exports.FORMAT: 99}).encode()
    for folder, sentence in (
        (broken(exports.WEIGHTS, weights[: len(weights) // 2]), "is no whole export .* export the model anew"),
        (broken(exports.WEIGHTS, b""), "is no whole export"),
        (broken(exports.DESCRIPTION, b"{"), "cannot be read .* export the model anew"),
        (broken(exports.DESCRIPTION, b"{}"), "is no description of an exported model"),
        (broken(exports.DESCRIPTION, later), "is of format 99, which this version does not know"),
    ):
        with pytest.raises(UserError, match=sentence):
            lvm_lab.load(folder)


def test_weights_of_another_model_are_refused(export: Path, tmp_path: Path) -> None:
    import safetensors.torch

    copy = tmp_path / "copy"
    shutil.copytree(export, copy)
    # Nothing says what was written: weights alone, as somebody may have them.
    (copy / exports.REPORT).unlink()
    tensors = safetensors.torch.load_file(copy / exports.WEIGHTS)
    name = next(name for name in tensors if name.startswith("head.") and name.endswith("weight"))
    tensors[name] = tensors[name] + 1.0
    safetensors.torch.save_file(tensors, copy / exports.WEIGHTS)
    with pytest.raises(UserError, match="gives another output than when it was saved"):
        lvm_lab.load(copy)


def test_what_was_changed_by_hand_is_refused(export: Path, tmp_path: Path) -> None:
    """The golden pair does not see what is told of the encoder."""
    copy = tmp_path / "copy"
    shutil.copytree(export, copy)
    (copy / exports.CARD).write_text("a card of one's own")
    lvm_lab.load(copy)
    file = copy / exports.DESCRIPTION
    node = json.loads(file.read_text())
    node["identity"]["contract"]["encoder"] = "another one"
    file.write_text(json.dumps(node))
    with pytest.raises(UserError, match=r"config\.json was changed since it was exported; export the model anew"):
        lvm_lab.load(copy)
    (copy / exports.REPORT).write_text("[]")
    with pytest.raises(UserError, match=r"export\.json cannot be read"):
        lvm_lab.load(copy)


def test_an_export_takes_no_place_and_leaves_nothing_behind(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {item.name: item.read_bytes() for item in export.iterdir()}
    with pytest.raises(UserError, match="exists already; name another out=FOLDER"):
        exporting.export(ExportSettings([str(RUN)], str(export)))
    assert {item.name: item.read_bytes() for item in export.iterdir()} == before

    def full(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(exported, "write_atomically", full)
    with pytest.raises(OSError, match="the disk is full"):
        exporting.export(ExportSettings([str(RUN)], str(tmp_path / "new")))
    assert list(tmp_path.iterdir()) == []
