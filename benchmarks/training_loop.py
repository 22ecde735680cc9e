"""Windows per second of the training loop against a bare PyTorch loop of the same model and batches.

    python benchmarks/training_loop.py [cuda] [ARCH ...]

Both take turns, block by block, in one process: the machine's speed drifts, their ratio does not. With `cuda`: every
arch at batch 4,096 in bfloat16, vectors on the device for both.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from common import machine, settings, spread
from gpu import ARCHS as EVERY_ARCH
from lightning_fabric.utilities.apply_func import move_data_to_device

from lvm_lab.build.data import parts as cut
from lvm_lab.build.training import module
from lvm_lab.config.settings import Settings
from lvm_lab.data.batches import WindowBatches
from lvm_lab.data.parts import Parts
from lvm_lab.data.resident import Resident
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

CPU_ARCHS = ("lstm", "gru", "transformer", "amn", "mamba2")


@dataclass(frozen=True)
class Sizes:
    """blocks: pairs that count, of so many steps each. more: further settings."""

    device: str = "cpu"
    batch: int = 256
    blocks: int = 9
    steps: int = 20
    precision: str = "32-true"
    more: tuple[str, ...] = ("data.documents=4000",)

    def settings(self, arch: str) -> Settings:
        own = ("head=two_tower", "loss=diffusion") if arch == "lcm_two_tower" else ()
        run = (f"device={self.device}", f"trainer.batch_size={self.batch}", f"trainer.precision={self.precision}")
        return settings(f"arch={arch}", *own, *run, *self.more, "trainer.max_epochs=1000")


class Bare:
    """The loop that one would write by hand."""

    def __init__(self, model: LatentVectorModule, data: Parts, negatives: int, sizes: Sizes) -> None:
        self.sizes, self.device = sizes, torch.device(sizes.device)
        self.model = model.to(self.device)
        sampler = DiverseBatches(data.train.document_W, sizes.batch, 8, 0)
        gather = Resident(self.device, "auto").gather(data.train.vectors_ND)
        self.batches = WindowBatches(data.train, negatives, gather=gather)
        self.draws = [draw for _ in range(1 + (sizes.blocks + 2) * sizes.steps // len(sampler)) for draw in sampler]
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        scale = WarmupCosine(10, 10_000, 0.01)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, scale)

    def block(self) -> float:
        start = self.clock()
        for _ in range(self.sizes.steps):
            batch = move_data_to_device(self.batches[self.draws.pop()], self.device)
            with self._precision():
                total, _ = self.model.loss(self.model.predict(batch.context_BLD), batch, self.model.stats)
            self.optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()
        return self.clock() - start

    def clock(self) -> float:
        """Seconds, with nothing left to do on the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.sizes.precision == "32-true":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


class Alternate(pl.Callback):
    """After every block of the trainer's, a block of the bare loop."""

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.pairs: list[tuple[float, float]] = []
        self.since = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        steps = self.bare.sizes.steps
        if trainer.global_step % steps:
            return
        ours = self.bare.clock() - self.since
        theirs = self.bare.block()
        # The first block warms both up.
        if trainer.global_step > steps:
            self.pairs.append((ours, theirs))
        if len(self.pairs) == self.bare.sizes.blocks:
            trainer.should_stop = True
        self.since = self.bare.clock()


def measure(arch: str, sizes: Sizes) -> str:
    run_settings = sizes.settings(arch)
    data = cut(run_settings)
    negatives = run_settings.config["loss"]["negatives"]
    alternate = Alternate(Bare(module(run_settings, data.stats, {}), data, negatives, sizes))
    folder = run_settings.cache / "runs" / arch
    run = runs.RunFolder(folder, "", "new")
    folder.mkdir(parents=True, exist_ok=True)
    callbacks = [
        Reseed(0),
        Divergence(),
        RunProgress(to_terminal(leader=False)),
        History(run.append_history),
        Checkpoints(run.checkpoints, run_settings.trainer.checkpoint),
        alternate,
    ]
    trainer = make_trainer(run_settings, callbacks, folder)
    trainer.fit(module(run_settings, data.stats, {}), datamodule=VectorDataModule(data, sizes.batch, 8, negatives, 0))
    rates = [sizes.steps * sizes.batch / ours for ours, _ in alternate.pairs]
    ratios = [theirs / ours for ours, theirs in alternate.pairs]
    return f"{arch:18s} {sorted(rates)[len(rates) // 2]:9,.0f} windows/s   trainer / bare {spread(ratios)}"


def main(arguments: list[str]) -> int:
    on_gpu = arguments[:1] == ["cuda"]
    if on_gpu and not torch.cuda.is_available():
        print("no CUDA device here: this benchmark was not run")
        return 1
    sizes = Sizes("cuda", batch=4_096, precision="bf16-mixed", more=("data.documents=10000",)) if on_gpu else Sizes()
    where = torch.cuda.get_device_name() if on_gpu else machine()
    print(f"training loop at batch {sizes.batch}, L = 5, D = 768, loss=infonce; {where}")
    for name in arguments[int(on_gpu) :] or (EVERY_ARCH if on_gpu else CPU_ARCHS):
        print(measure(name, sizes), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
