"""Targets a second of training on documents beside sliding windows of 16, in turns, in one process.

    python benchmarks/documents.py [ARCH ...]

Both train the same model with the same loss; a step of segments has many more targets than one of windows.
docs/scale.md has the figures.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from common import machine, settings, spread

from lvm_lab.build.data import parts as cut
from lvm_lab.build.training import module
from lvm_lab.config.settings import Settings
from lvm_lab.training.datamodule import VectorDataModule

ARCHS = ("transformer", "gru", "mamba2")
WORLD = ("data.dim=384", "data.documents=300", "data.ood_documents=30", "data.length=80", "five_cat=off")
MODEL = ("arch.width=256", "arch.layers=4", "head=residual", "head.taps=16", "loss=within_document")
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

    def block(self) -> float:
        """Targets a second, over some seconds."""
        start, targets = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            prediction, supervised = self.module.supervised(next(self.batches))
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


def measure(arch: str) -> str:
    sliding, documents = (Loop(settings(f"arch={arch}", *WORLD, *MODEL, *how)) for how in (SLIDING, DOCUMENTS))
    for loop in (sliding, documents):
        loop.block()
    pairs = [(sliding.block(), documents.block()) for _ in range(BLOCKS)]
    rates = [sorted(one)[BLOCKS // 2] for one in zip(*pairs, strict=True)]
    ratios = [theirs / ours for ours, theirs in pairs]
    return f"{arch:12s} targets/s: {rates[0]:,.0f} sliding, {rates[1]:,.0f} documents; ratio {spread(ratios)}"


if __name__ == "__main__":
    print(f"width 256, 4 layers, D = 384; windows of 16 against segments of up to 64; {machine()}")
    for name in sys.argv[1:] or ARCHS:
        print(measure(name), flush=True)
