"""What a strategy is: the stages that a training goes through, and what it minimises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lvm_lab.config import binding
from lvm_lab.config.settings import Settings
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.model import LatentVectorModel
from lvm_lab.training.objective import WeightedTerms


@dataclass(frozen=True)
class Stage:
    """Epochs that are alike; which windows each of them draws is then a function of (seed, epoch) alone.

    name: what history and log call it. positions: of the training windows that it goes through; None: all.
    loss: the name of the loss that it minimises, as `WeightedTerms.begin` takes it; None: the run's own. negatives: how
    many come with a window where it is another loss.
    """

    name: str
    epochs: int
    positions: np.ndarray | None = None
    loss: str | None = None
    negatives: int | None = None


@dataclass(frozen=True)
class Stages:
    """All stages of a training, in order."""

    stages: tuple[Stage, ...]

    def of(self, epoch: int) -> Stage:
        """The stage that an epoch, counted from 0, is in."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        raise AssertionError("a training has as many epochs as its stages")

    def begins(self, epoch: int) -> bool:
        """Whether an epoch is the first of its stage."""
        return epoch == 0 or self.of(epoch) is not self.of(epoch - 1)


class Material(NamedTuple):
    """What an objective is made of. own: the run's loss. make: a loss of a node as `loss` in a run's config is."""

    model: LatentVectorModel
    own: WeightedTerms
    parts: Parts
    make: Callable[[dict[str, Any]], WeightedTerms]
    seed: int


class Strategy:
    """Derive from it and override what is other; an object is made of the node `strategy` of a run's config.

    One optimiser and one schedule (warm-up, cosine) go through all stages. A restart would warm up once a stage, and
    what a strategy is worth would be mixed with what a schedule is.
    """

    def epochs(self) -> int | None:
        """How many epochs the stages have together; None: as many as trainer.max_epochs."""
        return None

    def stages(self, parts: Parts, max_epochs: int) -> Sequence[Stage]:
        """The stages; none: every epoch goes through all windows with the same loss."""
        return ()

    def objective(self, material: Material) -> WeightedTerms:
        """What training minimises."""
        return material.own

    def check(self, settings: Settings) -> None:
        """UserError, before any data is read, for settings that the strategy does not go with."""
        name = settings.config["strategy"]["name"]
        if "members" in settings.config["arch"]:
            raise UserError(
                f"an ensemble's members are trained already, and strategy={name} has nothing to go through; leave it "
                "out, or train the members with it."
            )
        epochs = self.epochs()
        if epochs is not None:
            check_epochs(epochs, settings)


def check_epochs(epochs: int, settings: Settings) -> None:
    """UserError where all stages together have another number of epochs than the training."""
    name, wanted = settings.config["strategy"]["name"], settings.trainer.max_epochs
    if epochs != wanted:
        raise UserError(
            f"the stages of strategy={name} have {epochs} epochs together and trainer.max_epochs is {wanted}; "
            f"set trainer.max_epochs={epochs}, or other stages."
        )


def check_patience(settings: Settings) -> None:
    """UserError for a training that may end before all its stages were gone through."""
    if settings.trainer.patience:
        raise UserError(
            f"trainer.patience={settings.trainer.patience} may end a training before its last stage; set "
            "trainer.patience=0, or strategy=none."
        )


def nodes(stages: Any, keys: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a config as they stand there, each held against its keys and their types.

    Raises UserError with the setting's name for what does not fit.
    """
    if not isinstance(stages, list) or not stages:
        raise UserError(f"strategy.stages={stages!r} does not fit; list stages as the options of conf/strategy/ do.")
    for number, stage in enumerate(stages):
        path = f"strategy.stages[{number}]"
        if not isinstance(stage, dict):
            raise UserError(f"{path}={stage!r} does not fit; give it {', '.join(keys)}.")
        for key in stage:
            if key not in keys:
                raise UserError(binding.unknown_key(f"{path}.{key}", keys))
        for key, hint in keys.items():
            if key not in stage:
                raise UserError(f"{path}.{key} is missing; give it {binding.describe(hint)}.")
            if not binding.fits(stage[key], hint):
                raise UserError(binding.misfit(f"{path}.{key}", stage[key], hint))
        if stage["epochs"] < 1:
            raise UserError(f"{path}.epochs={stage['epochs']} is no stage; set 1 or more, or leave the stage out.")
    return stages
