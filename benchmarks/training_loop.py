"""Windows per second of the training loop against a bare PyTorch loop of the same model and batches.

    python benchmarks/training_loop.py [ARCH ...]

Both take turns, block by block, in one process: the machine's speed drifts, their ratio does not.
"""

from __future__ import annotations

import sys
import time

import pytorch_lightning as pl
import torch
from common import machine, settings, spread

from lvm_lab.build.data import parts as cut
from lvm_lab.build.training import module
from lvm_lab.data.batches import WindowBatches
from lvm_lab.data.parts import Parts
from lvm_lab.data.sampler import DiverseBatches
from lvm_lab.logs import to_terminal
from lvm_lab.runs import folder as runs
from lvm_lab.training.callbacks.checkpoints import Checkpoints
from lvm_lab.training.callbacks.divergence import Divergence
from lvm_lab.training.callbacks.history import History
from lvm_lab.training.callbacks.progress import RunProgress
from lvm_lab.training.callbacks.reseed import Reseed
from lvm_lab.training.datamodule import VectorDataModule
from lvm_lab.training.module import LatentVectorModule, WarmupCosine
from lvm_lab.training.trainer import trainer as make_trainer

BLOCKS = 9
STEPS = 20
BATCH = 256


class Bare:
    """The loop that one would write by hand."""

    def __init__(self, model: LatentVectorModule, data: Parts, negatives: int) -> None:
        self.model = model
        sampler = DiverseBatches(data.train.document_W, BATCH, 8, 0)
        self.batches = WindowBatches(data.train, negatives)
        self.draws = [draw for _ in range(40) for draw in sampler]
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        scale = WarmupCosine(10, 10_000, 0.01)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, scale)

    def block(self) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            batch = self.batches[self.draws.pop()]
            total, _ = self.model.loss(self.model.predict(batch.context_BLD), batch, self.model.stats)
            self.optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()
        return time.perf_counter() - start


class Alternate(pl.Callback):
    """After every block of the trainer's, a block of the bare loop."""

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.pairs: list[tuple[float, float]] = []
        self.since = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step % STEPS:
            return
        ours = time.perf_counter() - self.since
        theirs = self.bare.block()
        # The first block warms both up.
        if trainer.global_step > STEPS:
            self.pairs.append((ours, theirs))
        if len(self.pairs) == BLOCKS:
            trainer.should_stop = True
        self.since = time.perf_counter()


def measure(arch: str) -> str:
    chosen = settings(f"arch={arch}", "data.documents=4000", "trainer.max_epochs=4")
    data = cut(chosen)
    alternate = Alternate(Bare(module(chosen, data.stats, {}), data, chosen.config["loss"]["negatives"]))
    folder = chosen.cache / "runs" / arch
    run = runs.RunFolder(folder, "", "new")
    folder.mkdir(parents=True, exist_ok=True)
    callbacks = [
        Reseed(0),
        Divergence(),
        RunProgress(to_terminal(leader=False)),
        History(run.append_history),
        Checkpoints(run.checkpoints, chosen.trainer.checkpoint),
        alternate,
    ]
    trainer = make_trainer(chosen, callbacks, folder)
    batches = VectorDataModule(data, BATCH, 8, chosen.config["loss"]["negatives"], 0)
    trainer.fit(module(chosen, data.stats, {}), datamodule=batches)
    rates = [STEPS * BATCH / ours for ours, _ in alternate.pairs]
    ratios = [theirs / ours for ours, theirs in alternate.pairs]
    return f"{arch:12s} {sorted(rates)[len(rates) // 2]:7.0f} windows/s   trainer / bare {spread(ratios)}"


if __name__ == "__main__":
    print(f"training loop at batch {BATCH}, L = 5, D = 768, loss=infonce; {machine()}")
    for name in sys.argv[1:] or ["lstm", "gru", "transformer", "amn", "mamba2"]:
        print(measure(name), flush=True)
