"""What the benchmarks share: a composed config, its parts, and medians with their spread."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lvm_lab.commands import launch as cli
from lvm_lab.config.settings import Settings
from lvm_lab.config.settings import settings as typed

CACHE = Path(tempfile.gettempdir()) / "lvm_lab_benchmarks"


def settings(*overrides: str) -> Settings:
    """The default run's settings with some changed."""
    with initialize_config_dir(str(cli.conf_dir()), version_base="1.3"):
        config: Any = compose("train", overrides=["device=cpu", "logger=none", f"run.cache={CACHE}", *overrides])
    return typed(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} (min {min(values):.3f}, max {max(values):.3f}, n = {len(values)})"


def machine() -> str:
    import torch

    return f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
