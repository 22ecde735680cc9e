"""Graphs are their models: held against them at every length, run without the lab, and refused with a reason."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import lvm_lab
from lvm_lab.build.model import assemble
from lvm_lab.commands.arguments import sort
from lvm_lab.commands.guest import from_python, guest
from lvm_lab.config.export import ExportSettings
from lvm_lab.errors import UserError
from lvm_lab.jobs import export_graphs, exporting
from lvm_lab.jobs.export_graphs import TOLERANCE, NoGraph, contexts
from lvm_lab.model import LatentVectorModel, identity
from lvm_lab.reporting import export as report
from lvm_lab.types import Stats

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parents[2]
SCHEMA1 = ROOT / "tests" / "fixtures" / "schema1"
(RUN,) = (SCHEMA1 / "outputs").iterdir()
QUICK = SCHEMA1 / "checkpoints" / "linear_metric.ckpt"
# What stands before the example: neither the lab nor torch can be imported.
ALONE = "import runpy, sys; sys.modules.update(lvm_lab=None, torch=None); runpy.run_path(sys.argv.pop(1))"


# Which arch has which graph, benchmarks/export.py says: a capture takes many seconds.
@pytest.mark.slow
def test_the_example_runs_where_neither_lab_nor_torch_is(tmp_path: Path) -> None:
    out, model = tmp_path / "mine", lvm_lab.load(QUICK)
    node = exporting.export(ExportSettings([str(QUICK)], str(out), ["safetensors", "onnx", "torch_export"]))
    assert set(node["graphs"]["onnx"]["latency"]) == {"torch", "onnxruntime"}
    assert node["graphs"]["onnx"]["difference"] <= TOLERANCE
    lengths = node["graphs"]["onnx"]["lengths"]
    assert lengths == list(range(1, model.context_length + 1))
    for batch, length in ((1, model.context_length), (4, 2)):
        context_BLD = contexts(model, batch, length)
        np.save(tmp_path / "contexts.npy", context_BLD.numpy())
        words = [sys.executable, "-c", ALONE, str(out / "run_onnx.py"), "contexts.npy"]
        subprocess.run(words, cwd=tmp_path, check=True, timeout=1800)
        prediction = model.predict(context_BLD)
        with np.load(tmp_path / "prediction.npz") as made:
            assert np.abs(made["raw_BD"] - prediction.raw_ND.detach().numpy()).max() < 1e-5
            assert np.abs(made["unit_BD"] - prediction.unit_ND.detach().numpy()).max() < 1e-5
    last_BLD = contexts(model, 4, model.context_length)
    raw_ND, unit_ND = torch.export.load(out / "model.pt2").module()(last_BLD)
    torch.testing.assert_close(raw_ND, model.predict(last_BLD).raw_ND, rtol=0, atol=1e-5)
    torch.testing.assert_close(unit_ND, model.predict(last_BLD).unit_ND, rtol=0, atol=1e-5)
    import onnx

    metadata = {one.key: one.value for one in onnx.load(out / "model.onnx").metadata_props}
    assert json.loads(metadata["contract"]) == model.contract


@pytest.mark.parametrize(("kind", "file"), [("onnx", "model.onnx"), ("torch_export", "model.pt2")])
def test_a_full_disk_is_no_reason_to_go_without_a_graph(
    kind: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Any, *given: Any, **more: Any) -> None:
        assert Path(path).name == file
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=full)
    monkeypatch.setattr(torch.onnx, "export", lambda *given, **more: program)
    monkeypatch.setattr(export_graphs, "write_atomically", full)
    with pytest.raises(OSError, match="No space left on device"):
        exporting.export(ExportSettings([str(QUICK)], str(tmp_path / "mine"), ["safetensors", kind]))
    assert [*tmp_path.iterdir()] == []


def small(parts: str) -> LatentVectorModel:
    with guest():
        config = from_python("train", sort([*parts.split(), "arch.width=16"]), None, None)
    return assemble(config, Stats(torch.zeros(16), torch.ones(16)), identity(config, {}, 16)).eval()


# Mamba-2 leaves out taps and chunks that a context does not reach, and a denoiser begins with noise.
@pytest.mark.slow
@pytest.mark.parametrize("parts", ["arch=mamba2", "arch=gru head=diffusion", "arch=gru head=energy"])
def test_a_graph_is_of_every_batch_and_mamba2s_of_every_length(parts: str, tmp_path: Path) -> None:
    model = small(parts)
    made = export_graphs.to_torch_export(model, tmp_path / "model.pt2", latency=False)
    assert made.lengths == (list(range(1, model.context_length + 1)) if "mamba2" in parts else [model.context_length])


# Torch's operators remember how a capture before resolved them.
@pytest.mark.slow
def test_what_was_exported_before_changes_no_graph(tmp_path: Path) -> None:
    def lengths(make: Any, **more: Any) -> list[int]:
        return list(make(small("arch=gru"), tmp_path / "graph", latency=False, **more).lengths)

    first = lengths(export_graphs.to_torch_export)
    assert lengths(export_graphs.to_onnx, metadata={}) == [1, 2, 3, 4, 5]
    assert lengths(export_graphs.to_torch_export) == first == [5]


def test_the_example_is_twenty_lines() -> None:
    lines = [line for line in report.example(768, 5).splitlines() if line.strip()]
    assert len(lines) <= 20
    assert "lvm_lab" not in "".join(line for line in lines if "import" in line)


def test_a_graph_that_is_not_the_model_is_none(tmp_path: Path) -> None:
    model = lvm_lab.load(RUN)
    file = tmp_path / "model.pt2"

    def off(by: float) -> Any:
        def run(context_BLD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            prediction = model(torch.from_numpy(context_BLD))
            return prediction.raw_ND.numpy() * (1 + by), prediction.unit_ND.numpy()

        return run

    def write(by: float, first: Exception | None = None) -> Any:
        attempts = [first]

        def made(context_BLD: torch.Tensor, dynamic: dict[int, Any]) -> Any:
            file.write_text("a graph")
            if attempts and (error := attempts.pop()):
                raise error
            return off(by)

        return made

    made = export_graphs._made(model, file, write(1e-6), None)
    assert (made.lengths, made.note) == (list(range(1, model.context_length + 1)), "")
    assert 0.5e-6 < made.difference < 2e-6
    made = export_graphs._made(model, file, write(0.0, ValueError("the length is fixed\nand more")), None)
    assert (made.lengths, made.note) == ([model.context_length], "ValueError: the length is fixed")
    with pytest.raises(NoGraph, match="vectors it is 1e-04 off, and 1e-05 is allowed"):
        export_graphs._made(model, file, write(1e-4), None)
    assert not file.exists()


def test_formats_that_cannot_be_had_are_listed_or_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise NoGraph("its scan is no graph")

    monkeypatch.setattr(exporting, "to_onnx", none)
    node = exporting.export(ExportSettings([str(RUN)], str(tmp_path / "one"), ["safetensors", "onnx"]))
    assert node["left_out"] == {"onnx": "its scan is no graph"}
    assert "ONNX: left out, its scan is no graph." in (tmp_path / "one" / "README.md").read_text()
    assert report.lines(tmp_path / "one", node)[-1] == "ONNX: left out, its scan is no graph"
    with pytest.raises(UserError, match=r"cannot be exported as onnx \(its scan is no graph\); add safetensors"):
        exporting.export(ExportSettings([str(RUN)], str(tmp_path / "two"), ["onnx"]))
    assert [item.name for item in tmp_path.iterdir()] == ["one"]
