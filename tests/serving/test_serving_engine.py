"""`engine=onnxruntime`: graphs answer as torch does, and torch where they cannot."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import lvm_lab
from helpers.commands import call
from helpers.serving import ENCODER, TEXTS, promote, serving
from lvm_lab import serve
from lvm_lab.config.serving import ServeSettings
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.jobs import serving_engine
from lvm_lab.jobs.export_graphs import NoGraph, Runner

pytest.importorskip("fastapi")
CONTEXT_LD = ENCODER.encode(TEXTS[:5])
CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "schema1" / "checkpoints" / "linear_metric.ckpt"
SETTINGS = ServeSettings(checkpoint={"model": str(CHECKPOINT)}, engine="onnxruntime")


def runner(path: Path, calls: list[int], off: float = 0.0) -> Runner:
    """What a graph of the model would be, which notes the lengths that it is asked of."""
    model = lvm_lab.load(path)

    def run(context_BLD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(context_BLD.shape[1])
        with torch.inference_mode():
            prediction = model(torch.from_numpy(context_BLD))
        return prediction.raw_ND.numpy() * (1 + off), prediction.unit_ND.numpy()

    return run


def asked(client: httpx.Client, length: int, steps: int = 1) -> list[list[float]]:
    answer = client.post("/predict", json={"context_vectors": CONTEXT_LD[-length:].tolist(), "steps": steps})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["vectors"])


def rolled_out(path: Path, length: int, steps: int) -> list[np.ndarray]:
    model, context_LD, expected = lvm_lab.load(path), CONTEXT_LD[-length:], []
    for _ in range(steps):
        prediction = model.predict(torch.from_numpy(context_LD[None]))
        expected.append(prediction.raw_ND[0].detach().numpy())
        context_LD = np.concatenate([context_LD, prediction.unit_ND.detach().numpy()])[-5:]
    return expected


def test_a_graph_is_asked_of_its_lengths_and_torch_of_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    graph = (runner(folder / "run", calls), [5], "made by hand")
    monkeypatch.setattr(serving_engine, "_graph", lambda settings, file: graph)
    with serving(f"checkpoint={folder}/run", "engine=onnxruntime") as address, httpx.Client(base_url=address) as client:
        (facts,) = client.get("/models").json()["models"]
        assert facts["engine"] == "onnxruntime"
        assert facts["engine_reason"] == "its graph was made by hand, for contexts of 5; torch reads others"
        for length, read in ((5, [5]), (4, []), (3, [5])):
            calls.clear()
            vectors = asked(client, length, steps=3 if length == 3 else 1)
            assert calls == read
            np.testing.assert_allclose(vectors, rolled_out(folder / "run", length, len(vectors)), atol=1e-5)


@pytest.mark.parametrize(("off", "words"), [(None, "its scan is no graph"), (1e-3, "it is 1e-03 off")])
def test_a_model_without_a_graph_stays_with_torch(
    off: float | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def graph(settings: ServeSettings, file: Path) -> tuple[Runner, list[int], str]:
        if off is None:
            raise NoGraph(words)
        return runner(CHECKPOINT, [], off), [1, 2], "made by hand"

    monkeypatch.setattr(serving_engine, "_graph", graph)
    engine = serving_engine.engine_of(SETTINGS, lvm_lab.load(CHECKPOINT), CHECKPOINT)
    assert engine.name == "torch"
    assert words in engine.reason


def test_a_graph_that_its_report_does_not_vouch_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model.safetensors", "config.json", "model.onnx"):
        (tmp_path / name).write_text(name)
    sums = {"model.onnx": sha256(tmp_path / "model.onnx")}
    opened: list[Path] = []
    monkeypatch.setattr(serving_engine, "onnx_runner", lambda file, threads: opened.append(file))

    def refused(report: Any) -> str:
        (tmp_path / "export.json").write_text(json.dumps(report))
        with pytest.raises(UserError) as error:
            serving_engine.engine_of(SETTINGS, lvm_lab.load(CHECKPOINT), tmp_path)
        assert not opened
        return str(error.value)

    graphs = {"onnx": {"lengths": [1, 2]}}
    for report in ({}, [], {"graphs": {}, "files": sums}, {"graphs": graphs, "files": {}}):
        assert "does not vouch for model.onnx" in refused(report)
    assert "model.onnx is not the file" in refused({"graphs": graphs, "files": {"model.onnx": "0" * 64}})
    (tmp_path / "export.json").write_text(json.dumps({"graphs": graphs, "files": sums}))
    _, lengths, source = serving_engine._graph(SETTINGS, tmp_path / "model.safetensors")
    assert (opened, lengths, source) == ([tmp_path / "model.onnx"], [1, 2], "exported with it")


def test_mistakes_of_the_engine_are_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call(folder, "checkpoint=run", "engine=jax", main=serve.main)
    assert "one of torch, onnxruntime" in done.sentence
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = call(folder, "checkpoint=run", "engine=onnxruntime", main=serve.main)
    assert "pip install lvm_lab[export]" in done.sentence


# One graph is exported, the other made by the server, each of which takes many seconds.
@pytest.mark.slow
def test_graphs_answer_as_torch_does_also_after_a_promotion(folder: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "safetensors"):
        pytest.importorskip(package)
    from lvm_lab.config.export import ExportSettings
    from lvm_lab.jobs import exporting

    run, registry, ended = folder / "run", tmp_path / "registry", threading.Event()
    exported = ExportSettings([str(run)], str(tmp_path / "exported"), ["safetensors", "onnx"], latency=False)
    exporting.export(exported)
    promote(registry, "books", exported.folder, "1")
    expected = {length: rolled_out(run, length, 3) for length in range(1, 6)}
    with (
        serving(f"registry={registry}", "engine=onnxruntime") as address,
        httpx.Client(base_url=address, timeout=600) as client,
    ):
        meanwhile: list[list[list[float]]] = []

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=600) as own:
                while not ended.is_set():
                    meanwhile.append(asked(own, 5, 3))

        thread = threading.Thread(target=ask)
        thread.start()
        for version, source in (("1", "exported with it"), ("2", "made as it was loaded")):
            if version == "2":
                promote(registry, "books", run, version)
            while (facts := client.get("/models").json()["models"][0])["version"] != version:
                ended.wait(0.2)
            assert (facts["engine"], facts["engine_reason"]) == ("onnxruntime", f"its graph was {source}")
            for length, wanted in expected.items():
                np.testing.assert_allclose(asked(client, length, 3), wanted, atol=1e-5)
        ended.set()
        thread.join()
    for vectors in meanwhile:
        np.testing.assert_allclose(vectors, expected[5], atol=1e-5)
