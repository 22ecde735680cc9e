"""Trains every architecture on the planted world and writes the table of docs/architectures.md.

    python benchmarks/architectures.py [RUN_ROOT]

Runs that are finished under RUN_ROOT (outputs/architectures) are not repeated.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import settings
from parity_table import PAGE, replace_between

from lvm_lab.build.training import module
from lvm_lab.commands import launch as cli
from lvm_lab.runs.folder import RunFolder
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Batch, Stats, state_bytes

DIM, LENGTH, ROWS, NEGATIVES = 768, 5, 256, 8
ROUNDS = 7
# Sampling takes 8 passes of the denoiser a prediction: fewer epochs, and 200 windows to judge.
BRIEFLY = ["trainer.max_epochs=8", "5cat=smoke"]
BESIDE = [
    ["arch=gru", "head=energy", "loss=energy"],
    ["arch=gru", "head=diffusion", "loss=diffusion", *BRIEFLY],
    ["arch=lcm_two_tower", "head=two_tower", "loss=diffusion", *BRIEFLY],
]
APART = ("ensemble", "lcm_two_tower")


def fresh(overrides: list[str]) -> LatentVectorModule:
    """The model, untrained and without data."""
    return module(settings(*overrides), Stats(torch.zeros(DIM), torch.ones(DIM)), {})


def training_step(overrides: list[str]) -> Callable[[], None]:
    """A whole step of the optimiser on one batch of random vectors."""
    model = fresh(overrides).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    negatives = settings(*overrides).config["loss"]["negatives"]
    torch.manual_seed(0)
    batch = Batch(
        torch.randn(ROWS, LENGTH, DIM),
        torch.randn(ROWS, DIM),
        torch.arange(ROWS),
        torch.randn(ROWS, NEGATIVES, DIM) if negatives else None,
        torch.ones(ROWS, NEGATIVES, dtype=torch.bool) if negatives else None,
    )

    def step() -> None:
        optimiser.zero_grad()
        prediction, wanted = model.supervised(batch)
        model.loss(prediction, wanted, model.stats)[0].backward()
        optimiser.step()

    return step


def rates(all_overrides: list[list[str]]) -> list[float]:
    """Windows a second in training for each, on one thread: medians of rounds in which every one has its turn."""
    torch.set_num_threads(1)
    steps = [training_step(overrides) for overrides in all_overrides]
    seconds: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS + 1):
        for step, taken in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    return [ROWS / statistics.median(taken[1:]) for taken in seconds]


def state_size(overrides: list[str]) -> str:
    """Bytes that one document's stream keeps after 5 and after 256 vectors."""
    backbone = fresh(overrides).model.backbone.eval()
    if not hasattr(backbone, "step"):
        return ""
    sizes, state = [], None
    with torch.inference_mode():
        for place in range(1, 257):
            _, state = backbone.step(torch.randn(1, DIM), state)
            if place in (5, 256):
                sizes.append(state_bytes(state))
    return f"{sizes[0]:,}" if sizes[0] == sizes[1] else f"{sizes[0]:,} to {sizes[1]:,}"


def trained(overrides: list[str], place: Path) -> None:
    """Train on one thread, or find trained; `place`/cpu_seconds keeps what it cost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "lvm_lab.train", *overrides, "logger=none", f"run.dir={place}"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    note = place / "cpu_seconds"
    if not note.exists():
        note.write_text(f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f}")


def row(overrides: list[str], rate: float, root: Path) -> str:
    """A trained model's numbers in a line."""
    place = root / "-".join(o.partition("=")[2] for o in overrides)
    trained(overrides, place)
    result = RunFolder(place, "", "finished").result()
    own, oracle = result.summaries[0][1], result.baseline_summaries["oracle"]
    val, ood = own.val, own.ood
    name = result.arch if result.loss == "infonce" else f"{result.arch}, {result.loss}"
    both = [
        f"{val[key]:.3f} / {ood[key]:.3f}" for key in ("A/cos", "A/margin", "C/shuffled", "C/left_out", "D/rollout")
    ]
    size = state_size([o for o in overrides if not o.startswith("5cat")])
    spent = (place / "cpu_seconds").read_text()
    cells = [name, f"{result.params:,}", f"{rate:,.0f}", spent, size, f"{own.passed}/{own.of}"]
    return "| " + " | ".join([*cells, f"{val['A/cos'] / oracle.val['A/cos']:.0%}", *both]) + " |"


def main(root: Path) -> None:
    archs = sorted(file.stem for file in (cli.conf_dir() / "arch").glob("*.yaml") if file.stem not in APART)
    runs = [[f"arch={arch}"] for arch in archs] + BESIDE
    heads = (
        "arch, parameters, windows/s, CPU s, state bytes, gates, of oracle, cos, margin, shuffled, left-out, rollout"
    )
    lines = [f"| {heads.replace(', ', ' | ')} |"]
    lines.append("|" + "---|" * 12)
    speeds = rates([[o for o in overrides if not o.startswith("5cat")] for overrides in runs])
    lines += [row(overrides, rate, root) for overrides, rate in zip(runs, speeds, strict=True)]
    replace_between(PAGE, "planted", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("outputs/architectures"))
