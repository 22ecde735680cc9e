"""Targets a second of training on documents beside sliding windows of 16, in turns, in one process.

    python benchmarks/documents.py [groups] [drawing] [compile] [ARCH ...]

Both train the same model with the same loss; a step of segments has many more targets than one of windows. With one of
the names instead of that: segments in groups of like length against whole batches, the share of a step that drawing and
gathering its batch takes, or a compiled backbone against a plain one. docs/scale.md has the figures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from common import machine, settings, spread

from lvm_lab.build.data import parts as cut
from lvm_lab.build.training import module
from lvm_lab.config.settings import Settings
from lvm_lab.training import length_groups
from lvm_lab.training.datamodule import VectorDataModule

ARCHS = ("transformer", "gru", "mamba2")
WORLD = ("data.dim=384", "data.documents=300", "data.ood_documents=30", "data.length=80", "five_cat=off")
SEQUENCE = ("arch.width=256", "arch.layers=4", "head=residual", "head.taps=16")
SLIDING = ("data.windows=sliding", "data.context_length=16", "trainer.batch_size=256")
DOCUMENTS = ("data.windows=documents", "data.context_length=64", "trainer.batch_size=64")
BLOCKS = 7
SECONDS = 2.0


class Loop:
    """Training steps over a part's batches, without end."""

    def __init__(self, run_settings: Settings) -> None:
        data = cut(run_settings)
        self.module = module(run_settings, data.stats, {})
        shortest = run_settings.data.shortest if run_settings.data.windows == "documents" else None
        negatives = run_settings.config["loss"]["negatives"]
        feed = VectorDataModule(
            data, run_settings.trainer.batch_size, run_settings.data.max_per_doc, negatives, 0, shortest
        )
        self.loader = feed.train_dataloader()
        self.batches = self._endless()
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-4, fused=True)
        # Seconds of the last block that its batches took to be drawn and gathered.
        self.drawing = 0.0

    def block(self) -> float:
        """Targets a second, over some seconds."""
        start, targets, self.drawing = time.perf_counter(), 0, 0.0
        while time.perf_counter() - start < SECONDS:
            before = time.perf_counter()
            batch = next(self.batches)
            self.drawing += time.perf_counter() - before
            prediction, supervised = self.module.supervised(batch)
            total, _ = self.module.loss(prediction, supervised, self.module.stats)
            self.optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            targets += len(supervised.target_ND)
        return targets / (time.perf_counter() - start)

    def _endless(self) -> Any:
        while True:
            yield from self.loader


def loops(arch: str) -> list[Loop]:
    # The linear metric is one matrix, with a head of its own.
    sizes = () if arch == "linear_metric" else SEQUENCE
    return [
        Loop(settings(f"arch={arch}", *WORLD, *sizes, "loss=within_document", *how)) for how in (SLIDING, DOCUMENTS)
    ]


def in_turns(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float, str]:
    """Median rates of both after one block each that does not count, and how many times the one the other is."""
    one(), other()
    pairs = [(one(), other()) for _ in range(BLOCKS)]
    rates = [sorted(rate)[BLOCKS // 2] for rate in zip(*pairs, strict=True)]
    return rates[0], rates[1], spread([theirs / ours for ours, theirs in pairs])


def measure(arch: str) -> str:
    sliding, documents = loops(arch)
    ours, theirs, ratio = in_turns(sliding.block, documents.block)
    return f"targets/s: {ours:,.0f} sliding, {theirs:,.0f} documents; ratio {ratio}"


def measure_groups(arch: str) -> str:
    """Whole batches against groups, and the shares of their places that are supervised."""
    documents, most = loops(arch)[1], length_groups.MOST

    def of(groups: int) -> float:
        length_groups.MOST = groups
        return documents.block()

    _, _, ratio = in_turns(lambda: of(1), lambda: of(most))
    return f"groups of like length / whole batches {ratio}; {shares(documents, most)}"


def shares(documents: Loop, groups: int) -> str:
    supervised, whole, grouped = 0, 0, 0
    for batch in documents.loader:
        segments, length = batch.read_BLD.shape[:2]
        length_B = length_groups._lengths(batch.index_N, segments, length).sort().values
        supervised += len(batch.index_N)
        whole += segments * length
        grouped += sum(len(of_B) * int(of_B.max()) for of_B in length_B.tensor_split(groups))
    return f"supervised: {supervised / whole:.0%} of a batch's places, {supervised / grouped:.0%} of its groups'"


def measure_drawing(arch: str) -> str:
    words = []
    for name, loop in zip(("windows", "documents"), loops(arch), strict=True):
        loop.block()
        parts = []
        for _ in range(BLOCKS):
            start = time.perf_counter()
            loop.block()
            parts.append(loop.drawing / (time.perf_counter() - start))
        words.append(f"{name} {spread(parts)}")
    return "share of a step that drawing and gathering take: " + ", ".join(words)


def measure_compile(arch: str) -> str:
    words = []
    for name, plain, compiled in zip(("windows", "documents"), loops(arch), loops(arch), strict=True):
        compiled.module.model.backbone.compile()
        start = time.perf_counter()
        # All lengths that come are compiled in these.
        for _ in range(BLOCKS):
            compiled.block()
        seconds = time.perf_counter() - start - BLOCKS * SECONDS
        words.append(f"{name} {in_turns(plain.block, compiled.block)[2]} after {seconds:.0f} s")
    return "compiled / plain: " + ", ".join(words)


OTHERS = {"groups": measure_groups, "drawing": measure_drawing, "compile": measure_compile}

if __name__ == "__main__":
    print(f"width 256, 4 layers, D = 384; windows of 16 against segments of up to 64; {machine()}")
    chosen = [name for name in sys.argv[1:] if name in OTHERS]
    for arch in [name for name in sys.argv[1:] if name not in OTHERS] or ARCHS:
        for measured in [OTHERS[name] for name in chosen] or [measure]:
            print(f"{arch:12s} {measured(arch)}", flush=True)
