"""Progressive training: some epochs on few windows, then on more, each of which holds all of those before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvm_lab.config.settings import Settings
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.training.strategies.base import Stage, Strategy, check_patience, nodes

KEYS = {"train_windows": int | None, "epochs": int}


class Progressive(Strategy):
    """stages: each {train_windows, epochs}. A stage takes its windows as data.train_windows does, by the hash of their
    documents; null, or more than there are: all."""

    def __init__(self, stages: list[dict[str, Any]]) -> None:
        self.nodes = nodes(stages, KEYS)
        for number, stage in enumerate(self.nodes):
            if stage["train_windows"] is not None and stage["train_windows"] < 1:
                raise UserError(
                    f"strategy.stages[{number}].train_windows={stage['train_windows']} leaves nothing to train on; set "
                    "1 or more, or null for all."
                )

    def epochs(self) -> int:
        return sum(stage["epochs"] for stage in self.nodes)

    def check(self, settings: Settings) -> None:
        super().check(settings)
        check_patience(settings)

    def stages(self, parts: Parts, max_epochs: int) -> Sequence[Stage]:
        assert parts.training is not None, "parts are cut from a store"
        stages = []
        for stage in self.nodes:
            windows = min(stage["train_windows"] or len(parts.train), len(parts.train))
            positions = None if windows == len(parts.train) else parts.training.first(parts.train, windows)
            stages.append(Stage(f"{windows} windows", stage["epochs"], positions))
        return stages
