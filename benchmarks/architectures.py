"""Trains every architecture on the planted world and writes the table of docs/architectures.md.

    python benchmarks/architectures.py [RUN_ROOT]

Runs that are finished under RUN_ROOT (outputs/architectures) are not repeated.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import torch
from common import settings
from parity_table import PAGE, replace_between

from lvm_lab import build, cli
from lvm_lab.types import Stats, state_bytes

# Sampling takes 8 passes of the denoiser a prediction: fewer epochs, and 200 windows to judge.
BRIEFLY = ["trainer.max_epochs=8", "5cat=smoke"]
BESIDE = [
    ["arch=gru", "head=energy", "loss=energy"],
    ["arch=gru", "head=diffusion", "loss=diffusion", *BRIEFLY],
    ["arch=lcm_two_tower", "head=two_tower", "loss=diffusion", *BRIEFLY],
]
APART = ("ensemble", "lcm_two_tower")


def state_size(overrides: list[str]) -> str:
    """Bytes that one document's stream keeps after 5 and after 256 vectors."""
    chosen = settings(*overrides)
    backbone = build.module(chosen, Stats(torch.zeros(768), torch.ones(768)), {}).backbone.eval()
    if not hasattr(backbone, "step"):
        return ""
    sizes, state = [], None
    with torch.inference_mode():
        for place in range(1, 257):
            _, state = backbone.step(torch.randn(1, 768), state)
            if place in (5, 256):
                sizes.append(state_bytes(state))
    return f"{sizes[0]:,}" if sizes[0] == sizes[1] else f"{sizes[0]:,} to {sizes[1]:,}"


def row(overrides: list[str], root: Path) -> str:
    """Train, or find trained, and put the numbers into a line."""
    place = root / "-".join(o.partition("=")[2] for o in overrides)
    subprocess.run([sys.executable, "-m", "lvm_lab.train", *overrides, "logger=none", f"run.dir={place}"], check=True)
    result = json.loads((place / "result.json").read_text())
    history = [json.loads(line) for line in (place / "history.jsonl").read_text().splitlines()]
    val, ood = (result["five_cat"]["model"][part] for part in ("val", "ood"))
    oracle = result["baselines"]["oracle"]["val"]["A/cos"]
    rate = statistics.median(epoch["windows_per_second"] for epoch in history)
    name = result["arch"] if result["loss"] == "infonce" else f"{result['arch']}, {result['loss']}"
    both = [
        f"{val[key]:.3f} / {ood[key]:.3f}" for key in ("A/cos", "A/margin", "C/shuffled", "C/left_out", "D/rollout")
    ]
    size = state_size([o for o in overrides if not o.startswith("5cat")])
    cells = [name, f"{result['params']:,}", f"{rate:,.0f}", size, f"{result['five_cat']['passed']}/5"]
    return "| " + " | ".join([*cells, f"{val['A/cos'] / oracle:.0%}", *both]) + " |"


def main(root: Path) -> None:
    archs = sorted(file.stem for file in (cli.conf_dir() / "arch").glob("*.yaml") if file.stem not in APART)
    heads = "arch, parameters, windows/s, state bytes, gates, of oracle, cos, margin, shuffled, left-out, rollout"
    lines = [f"| {heads.replace(', ', ' | ')} |"]
    lines.append("|" + "---|" * 11)
    lines += [row([f"arch={arch}"], root) for arch in archs]
    lines += [row(overrides, root) for overrides in BESIDE]
    replace_between(PAGE, "planted", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("outputs/architectures"))
