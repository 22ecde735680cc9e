"""Which arch becomes which graph, how far it is from the model and how fast: the table of docs/export.md.

    OMP_NUM_THREADS=1 python benchmarks/export.py [arch=gru ...]

Every option of conf/arch at its shipped sizes, 768 dims, context of 5, weights drawn at random. Times are medians of a
call at batch 1, one thread, torch and the graph in turn. A row is printed as it is made.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from lvm_lab.build.model import assemble
from lvm_lab.commands.arguments import sort
from lvm_lab.commands.guest import from_python, guest
from lvm_lab.jobs.export_graphs import Made, NoGraph, to_onnx, to_torch_export
from lvm_lab.model import LatentVectorModel, identity
from lvm_lab.types import Stats

DIM = 768
# Heads that an arch goes with, where it does not go with every one.
HEADS = {"lcm_base": "diffusion", "lcm_two_tower": "two_tower", "ridge": "linear"}
LENGTHS = ("ONNX: lengths", "off by", "torch.export: lengths", "off by")
HEADS_OF_TABLE = ("arch", *LENGTHS, "torch, ms", "onnxruntime", "torch", "torch.export", "notes")
CONF = Path(__file__).parents[1] / "conf" / "arch"


def model(arch: str, *settings: str) -> LatentVectorModel:
    """As a training would begin with it, none of its weights at zero."""
    with guest():
        line = sort([f"arch={arch}", f"head={HEADS.get(arch, 'dual')}", *settings])
        config = from_python("train", line, None, None)
    draws = torch.Generator().manual_seed(1)
    stats = Stats(0.01 * torch.randn(DIM, generator=draws), 0.03 * torch.rand(DIM, generator=draws) + 0.02)
    made = assemble(config, stats, identity(config, {}, DIM)).eval()
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02, generator=draws)
    return made


def row(arch: str) -> str:
    one = model(arch)
    cells, notes = [f"`{arch}`"], []
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        graphs: dict[str, Callable[[], Made]] = {
            "onnx": lambda: to_onnx(one, Path(folder, "model.onnx"), latency=True, metadata={}),
            "torch_export": lambda: to_torch_export(one, Path(folder, "model.pt2"), latency=True),
        }
        for kind, make in graphs.items():
            try:
                made = make()
            except NoGraph as error:
                cells += ["none", ""]
                notes.append(f"{kind}: {error}")
                continue
            cells += [f"{made.lengths[0]} to {made.lengths[-1]}" if len(made.lengths) > 1 else str(made.lengths[0])]
            cells += [f"{made.difference:.0e}"]
            notes += [f"{kind}: {made.note}"] if made.note else []
            times |= {f"{name} beside {kind}": ms["p50_ms"] for name, ms in made.latency.items()}
    pairs = (("torch", "onnx"), ("onnxruntime", "onnx"), ("torch", "torch_export"), ("torch_export", "torch_export"))
    shown = [f"{name} beside {kind}" for name, kind in pairs]
    cells += [f"{times[name]:.2f}" if name in times else "" for name in shown]
    return f"| {' | '.join(cells)} | {'; '.join(notes).replace('|', '/')} |"


def main() -> None:
    archs = sys.argv[1:] or sorted(file.stem for file in CONF.glob("*.yaml") if file.stem != "ensemble")
    print(f"| {' | '.join(HEADS_OF_TABLE)} |")
    print("|---" * len(HEADS_OF_TABLE) + "|")
    for arch in archs:
        print(row(arch.removeprefix("arch=")), flush=True)


if __name__ == "__main__":
    main()
