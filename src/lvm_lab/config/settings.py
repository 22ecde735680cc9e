"""The settings of conf/train.yaml that are not a group's, typed; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lvm_lab.errors import UserError


@dataclass(frozen=True)
class OptimSettings:
    """AdamW with a linear warm-up and a cosine decay to `final_lr` of the peak."""

    lr: float = 3e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    final_lr: float = 0.01
    clip: float = 1.0

    def __post_init__(self) -> None:
        _positive("trainer.optim.lr", self.lr)
        for name in ("weight_decay", "final_lr", "clip"):
            _not_negative(f"trainer.optim.{name}", getattr(self, name))
        if not 0 <= self.warmup < 1:
            raise UserError(f"trainer.optim.warmup={self.warmup} is a share of all steps; set it from 0 to below 1.")


@dataclass(frozen=True)
class CheckpointSettings:
    """every_n_epochs: keeps epoch=NN.ckpt that often, weights only (0: never). keep_best: so many best by val loss."""

    every_n_epochs: int = 0
    keep_best: int = 0

    def __post_init__(self) -> None:
        _not_negative("trainer.checkpoint.every_n_epochs", self.every_n_epochs)
        _not_negative("trainer.checkpoint.keep_best", self.keep_best)


@dataclass(frozen=True)
class TrainerSettings:
    """How long and how to train. supervision: the last position, or all (causal backbones).

    patience: epochs without a lower validation loss after which training ends (0: never).
    """

    max_epochs: int = 20
    patience: int = 0
    batch_size: int = 256
    supervision: Literal["last", "all"] = "last"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    optim: OptimSettings = field(default_factory=OptimSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        _positive("trainer.max_epochs", self.max_epochs)
        _not_negative("trainer.patience", self.patience)
        if self.batch_size < 2:
            raise UserError(f"trainer.batch_size={self.batch_size} leaves nothing to compare; set 2 or more.")


@dataclass(frozen=True)
class RunSettings:
    """Where a run lands. None of it enters the fingerprint.

    dir: the run's folder (null: <root>/<arch>-<loss>-<data>-<fingerprint8>). force: start over what
    is finished. keep_last: keep a finished run's last.ckpt, with the optimiser. cache: imported
    stores, statistics and fitted baselines (null: ~/.cache/lvm_lab).
    """

    dir: str | None = None
    root: str = "outputs"
    force: bool = False
    keep_last: bool = True
    cache: str | None = None


@dataclass(frozen=True)
class DeviceSettings:
    """Lightning's accelerator, devices and strategy. threads: CPU threads (null: what PyTorch chooses)."""

    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None:
            _positive("device.threads", self.threads)


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise UserError(f"{name}={value} must be 0 or greater.")


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise UserError(f"{name}={value} does not fit; set it above 0.")
