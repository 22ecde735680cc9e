"""What is shown of an export and written beside it: lines, card, an example for onnxruntime; no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from lvm_lab.reporting import card as model_card
from lvm_lab.reporting.markdown import plain, table
from lvm_lab.reporting.plots.record import Record
from lvm_lab.runs import exports

TITLES = {"onnx": "ONNX", "torch_export": "torch.export"}
RUNTIMES = {"torch": "torch", "onnxruntime": "onnxruntime", "torch_export": "torch.export"}
FILES = {
    exports.WEIGHTS: "weights, the golden pair and the sketch of the training rows, for `lvm_lab.load`",
    exports.DESCRIPTION: "what the weights are of: the training's config, the encoder's contract, the version",
    exports.ONNX: "the graph, vectors to `raw` and `unit`, with the contract in its metadata",
    exports.EXAMPLE: "the graph in numpy and onnxruntime alone",
    exports.TORCH_EXPORT: "the same graph for `torch.export.load`",
}
EXAMPLE = '''"""The next vector after each context, without lvm_lab and torch: python run_onnx.py [contexts.npy]"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime

DIM, LENGTH = {dim}, {length}  # of a vector; of a context in training

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
if len(sys.argv) > 1:
    context_BLD = np.load(sys.argv[1]).astype("float32")  # windows x length x dim, oldest vector first
else:
    context_BLD = np.random.default_rng(0).normal(size=(2, LENGTH, DIM)).astype("float32")
raw_BD, unit_BD = session.run(["raw", "unit"], {{"context": context_BLD}})
np.savez("prediction.npz", raw_BD=raw_BD, unit_BD=unit_BD)  # for a decoder; for cosine and retrieval
print(f"prediction.npz: {{len(raw_BD)}} predictions of {{raw_BD.shape[1]}} dims")
'''


def example(dim: int, length: int) -> str:
    """The program beside model.onnx. dim: of what the graph reads."""
    return EXAMPLE.format(dim=dim, length=length)


def input_words(contract: dict[str, Any]) -> str:
    """What a graph reads, in its metadata."""
    encoder = contract.get("encoder") or "the encoder of the training's data"
    return f"float32, windows x length x dim, vectors of {encoder} as they are, oldest first"


def lines(folder: Path, node: dict[str, Any]) -> list[str]:
    """What an export came to. node: of export.json."""
    shown = [f"{folder}: {', '.join(name for name in FILES if name in node['files'])}"]
    for kind, made in node["graphs"].items():
        note = f" ({made['note']})" if made["note"] else ""
        shown.append(
            f"{TITLES[kind]}: contexts of {_lengths(made['lengths'])} vectors{note}, "
            f"{made['difference']:.0e} from the model at most"
        )
        times = [f"{RUNTIMES[name]} {ms['p50_ms']:.2f} ms" for name, ms in made["latency"].items()]
        shown += [f"  a call at batch 1, one thread, median: {', '.join(times)}"] if times else []
    return [*shown, *(f"{TITLES[kind]}: left out, {reason}" for kind, reason in node["left_out"].items())]


def show(folder: Path, node: dict[str, Any], console: Console) -> None:
    for line in lines(folder, node):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def card(run: Record | None, contract: dict[str, Any], node: dict[str, Any], name: str) -> str:
    """README.md: what the hub reads, the run's model card, and what lies beside it. node: of export.json, without its
    files."""
    head = "---\nlibrary_name: lvm_lab\ntags: [latent-vector-model, next-vector-prediction]\n---\n"
    text = f"# Model card: {name}\n\nNo run's folder was beside the checkpoint that this is of.\n"
    if run is not None:
        # Figures and the run's own checkpoint stay where they are.
        text = model_card.text(run, exported=name)
    encoder = plain(contract.get("encoder") or "") or "not recorded"
    blocks = [
        "## This export",
        f"Made by lvm_lab {node['version']} of `{Path(node['checkpoint']).name}` (sha256 `{node['sha256']}`), for "
        f"vectors of the encoder `{encoder}`, which go in as they are: the normaliser is part of the model.",
        table(("file", "what it is"), [(f"`{file}`", words) for file, words in FILES.items() if _has(file, node)]),
        *(f"{TITLES[kind]}: left out, {plain(reason)}." for kind, reason in node["left_out"].items()),
    ]
    return head + text + "\n" + "\n\n".join(blocks) + "\n"


def _has(file: str, node: dict[str, Any]) -> bool:
    kinds = {exports.ONNX: "onnx", exports.EXAMPLE: "onnx", exports.TORCH_EXPORT: "torch_export"}
    return kinds[file] in node["graphs"] if file in kinds else bool(node["safetensors"])


def _lengths(lengths: list[int]) -> str:
    return str(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]}"
