"""A callback with a declared place in the order, and what a run gives its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from lvm_lab.config.presets import Preset
from lvm_lab.config.settings import CheckpointSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Store
from lvm_lab.data.windows import Windows
from lvm_lab.judge.results import PartScores
from lvm_lab.training._lightning import pl

# A user's own, unless it declares another: it sees the numbers of the epoch, and history writes what it adds to them.
OWN = 60


class Callback(pl.Callback):
    """priority: callbacks run from the lowest to the highest at every hook, however the config lists them."""

    priority: ClassVar[int] = OWN


@dataclass(frozen=True)
class RunContext:
    """What a run gives its callbacks: a callback gets those that its parameters name.

    val: the validation windows; store: what their rows lie in, where it is known; contract: of the encoder of all
    vectors. cache: for what is read from files more than once. show: takes a judgement for the terminal. write: takes
    an epoch's row for history.jsonl and the loggers. folder: where checkpoints land. checkpoint: which ones.
    """

    seed: int
    patience: int
    val: Windows
    preset: Preset
    console: Console
    show: Callable[[PartScores], None]
    write: Callable[[dict[str, Any]], None]
    folder: Path
    checkpoint: CheckpointSettings
    store: Store | None = None
    contract: EncoderContract | None = None
    cache: Path | None = None
