"""The settings of a run, typed: every value of a composed config held against what it may be; no torch, no files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config import binding, loggers, objective, targets
from lvm_lab.config.data import DataSettings
from lvm_lab.config.objective import SweepSettings
from lvm_lab.config.presets import Preset
from lvm_lab.errors import UserError

NormaliserName = Literal["none", "standard", "robust", "whiten"]
GROUPS = ("arch", "head", "loss", "data", "device", "five_cat", "trainer", "run")
# Groups that a config may do without, as those of older versions do.
OPTIONAL = ("logger", "callbacks", "sweep", "strategy")
VALUES = ("seed", "normaliser")
# What a config says of a training that goes through all its windows with one loss.
NO_STRATEGY = {"name": "none"}
# Groups whose options have a name of their own, which runs and tables go by.
NAMED = ("arch", "head", "loss", "data", "strategy")
# Such names make folders: letters and digits first, no separators.
NAME = re.compile(r"\w[\w.+ -]{0,63}")
# More threads than any machine has cores; far more than that end in a segmentation fault.
MOST_THREADS = 1024
MOST_DEVICES = 1024
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
# Lightning's names of strategies that leave no process with a whole model, without underscores.
SHARDING = ("fsdp", "xlafsdp", "deepspeed", "modelparallel")
DATA_KEYS = tuple(DataSettings.__dataclass_fields__)


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
    """every_n_epochs: keeps epoch=NN.ckpt that often, weights only (0: never). keep_best: so many best by val loss.

    every_minutes: writes last.ckpt inside an epoch too, that often by the clock (0 or null: never). It changes nothing
    that is computed and enters no fingerprint.
    """

    every_n_epochs: int = 0
    keep_best: int = 0
    every_minutes: float | None = 10

    def __post_init__(self) -> None:
        _not_negative("trainer.checkpoint.every_n_epochs", self.every_n_epochs)
        _not_negative("trainer.checkpoint.keep_best", self.keep_best)
        _not_negative("trainer.checkpoint.every_minutes", self.every_minutes or 0)


@dataclass(frozen=True)
class TrainerSettings:
    """How long and how to train. supervision: the last position, or all (causal backbones).

    patience: epochs without a lower validation loss after which training ends (0: never). init_from: a checkpoint or a
    run's folder whose weights the training begins with. continue_from: the folder of a finished run that is trained for
    `max_epochs` epochs more. accumulate: pieces that a batch is computed in, one after the other; the loss sees the
    whole batch. ema: decay of the moving average of the weights that is validated, judged and kept (null: none).
    """

    max_epochs: int = 20
    patience: int = 0
    batch_size: int = 256
    supervision: Literal["last", "all"] = "last"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    init_from: str | None = None
    continue_from: str | None = None
    accumulate: int = 1
    ema: float | None = None
    optim: OptimSettings = field(default_factory=OptimSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)

    def __post_init__(self) -> None:
        _positive("trainer.max_epochs", self.max_epochs)
        _not_negative("trainer.patience", self.patience)
        if self.batch_size < 2:
            raise UserError(f"trainer.batch_size={self.batch_size} leaves nothing to compare; set 2 or more.")
        if not 1 <= self.accumulate <= self.batch_size:
            raise UserError(
                f"trainer.accumulate={self.accumulate} cannot cut a batch of {self.batch_size} windows; "
                f"set it from 1 to {self.batch_size}."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(
                f"trainer.ema={self.ema} is no decay; set it between 0 and 1, for instance 0.999, or null for none."
            )
        if self.init_from is not None and self.continue_from is not None:
            raise UserError("trainer.init_from and trainer.continue_from are both given; set one of them.")


@dataclass(frozen=True)
class RunSettings:
    """Where a run lands. None of it enters the fingerprint.

    dir: the run's folder (null: <root>/<arch>-<loss>-<data>-<fingerprint8>). force: start over what
    is finished. keep_last: keep a finished run's last.ckpt, with the optimiser. cache: imported
    stores, statistics and fitted baselines (null: ~/.cache/lvm_lab). allow: packages whose classes an ensemble's
    members may be of, beside the lab's own.
    """

    dir: str | None = None
    root: str = "outputs"
    force: bool = False
    keep_last: bool = True
    cache: str | None = None
    allow: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class DeviceSettings:
    """Lightning's accelerator, devices and strategy. threads: CPU threads (null: what PyTorch chooses).

    kernels: what Mamba-2 computes with on CUDA devices, by default the faster one for the context's length.
    """

    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    threads: int | None = None
    kernels: Literal["auto", "fused", "plain"] = "auto"

    def __post_init__(self) -> None:
        if self.strategy.lower().replace("_", "").startswith(SHARDING):
            raise UserError(
                f"device.strategy={self.strategy} shards parameters, which predictions in one process cannot use; "
                "set device=ddp."
            )
        if self.threads is not None:
            _positive("device.threads", self.threads)
            if self.threads > MOST_THREADS:
                raise UserError(f"device.threads={self.threads} does not fit; set it from 1 to {MOST_THREADS}.")
        if self.accelerator not in ACCELERATORS:
            raise UserError(
                f"device.accelerator={self.accelerator!r} does not fit; give it one of {', '.join(ACCELERATORS)}."
            )
        if not self._counts_devices():
            raise UserError(
                f"device.devices={self.devices!r} does not fit; set it from 1 to {MOST_DEVICES}, or to auto for all."
            )

    def _counts_devices(self) -> bool:
        # As Lightning has it, -1 is all of them, and a text such as "0,2" names GPUs.
        if isinstance(self.devices, str):
            return re.fullmatch(r"auto|\d{1,4}(,\d{1,4})*", self.devices) is not None
        return self.devices == -1 or 1 <= self.devices <= MOST_DEVICES


@dataclass(frozen=True)
class Settings:
    """A resolved config, typed. `config` is the same in plain containers.

    allow: the packages and targets, beside the lab's own, of which objects may be built.
    """

    config: dict[str, Any]
    seed: int
    normaliser: NormaliserName
    trainer: TrainerSettings
    data: DataSettings
    run: RunSettings
    device: DeviceSettings
    logger: loggers.Nodes
    preset: Preset
    sweep: SweepSettings = field(default_factory=SweepSettings)
    allow: frozenset[str] = frozenset()

    @property
    def cache(self) -> Path:
        return cache_folder(self.run.cache)


def cache_folder(cache: str | Path | None) -> Path:
    """Where imported stores and fitted baselines are kept; None: the user's cache."""
    if cache:
        return Path(cache)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "lvm_lab"


def settings(config: dict[str, Any], allow: Iterable[str] | None = None) -> Settings:
    """Every setting held against its type; what arch, head, loss and data are called with is so when they are made.

    allow: of which packages and targets, beside the lab's own, objects may be built. None: the user composed the
    config, which is allowed what it names; one that was read from a file is allowed nothing by itself.
    Raises UserError with the setting's name and what it may be.
    """
    typed = binding.dataclass_from
    _check_groups(config)
    if not binding.fits(config["seed"], int) or config["seed"] < 0:
        raise UserError(
            f"seed={binding.written(config['seed'])} does not fit; "
            f"give it a whole number from 0 to {binding.LARGEST_INT}."
        )
    if not binding.fits(config["normaliser"], NormaliserName):
        raise UserError(
            f"normaliser={config['normaliser']!r} does not fit; give it {binding.describe(NormaliserName)}."
        )
    run = typed(RunSettings, config["run"], "run")
    preset, sweep = Preset.from_dict(config["five_cat"]), typed(SweepSettings, config.get("sweep", {}), "sweep")
    if sweep.objective is not None:
        objective.check(sweep.objective, [str(gate) for gate in preset.gates], judged=preset.eval_windows > 0)
    trainer = typed(TrainerSettings, config["trainer"], "trainer")
    data = typed(DataSettings, {k: v for k, v in config["data"].items() if k in DATA_KEYS}, "data")
    data.check_supervision(trainer.supervision)
    return Settings(
        config=config,
        seed=config["seed"],
        normaliser=config["normaliser"],
        trainer=trainer,
        data=data,
        run=run,
        device=typed(DeviceSettings, config["device"], "device"),
        logger=loggers.by_name(config.get("logger", {})),
        preset=preset,
        sweep=sweep,
        allow=targets.named(config).union(run.allow) if allow is None else frozenset(allow),
    )


def nameless(node: dict[str, Any]) -> dict[str, Any]:
    """A group's node without the option's name."""
    return {key: value for key, value in node.items() if key != "name"}


def _check_groups(config: dict[str, Any]) -> None:
    for key in (*GROUPS, *VALUES):
        if key not in config:
            raise UserError(f"{key} is taken away, and a run needs it; leave ~{key} out.")
    for key in config:
        if key not in (*GROUPS, *OPTIONAL, *VALUES):
            raise UserError(binding.unknown_key(key, (*GROUPS, *OPTIONAL, *VALUES)))
    for group in (*GROUPS, *(group for group in OPTIONAL if group in config)):
        node = config[group]
        if not isinstance(node, dict):
            value = "null" if node is None else repr(node)
            raise UserError(f"{group}={value} does not fit; set its keys, for instance {group}.KEY=VALUE.")
        if group in NAMED:
            _check_name(f"{group}.name", node.get("name"))


def _check_name(key: str, name: Any) -> None:
    if not isinstance(name, str):
        raise UserError(f"{key}={name!r} does not fit; give it a text.")
    if not NAME.fullmatch(name):
        raise UserError(
            f"{key}={name!r} does not fit, because folders are called by it; give it up to 64 letters, digits, "
            "'-', '_' and '.', a letter or digit first."
        )


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise UserError(f"{name}={value} must be 0 or greater.")


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise UserError(f"{name}={value} does not fit; set it above 0.")
