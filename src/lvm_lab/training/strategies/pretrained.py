"""Contrastive pre-training, then regression: some epochs with another loss before the run's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lvm_lab.config.settings import Settings
from lvm_lab.data.parts import Parts
from lvm_lab.errors import UserError
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.training.strategies.base import Material, Stage, Strategy, check_patience
from lvm_lab.types import Batch, Prediction, Stats

STAGE = "pretraining"


class Pretrained(Strategy):
    """epochs: how many of trainer.max_epochs minimise `loss`, a node as `loss` in a run's config is; the rest minimise
    the run's own, whose terms begin as they are set: what `loss` learned (a temperature) is not taken over.
    """

    def __init__(self, epochs: int, loss: dict[str, Any]) -> None:
        if epochs < 1:
            raise UserError(f"strategy.epochs={epochs} is no pre-training; set 1 or more, or strategy=none.")
        self.first, self.loss = epochs, loss

    def check(self, settings: Settings) -> None:
        super().check(settings)
        check_patience(settings)
        if self.first >= settings.trainer.max_epochs:
            raise UserError(
                f"strategy.epochs={self.first} leaves none of trainer.max_epochs={settings.trainer.max_epochs} to the "
                "run's own loss; set it lower, or trainer.max_epochs higher."
            )

    def stages(self, parts: Parts, max_epochs: int) -> Sequence[Stage]:
        pretraining = Stage(STAGE, self.first, loss=STAGE, negatives=self.loss.get("negatives"))
        return (pretraining, Stage("own loss", max_epochs - self.first))

    def objective(self, material: Material) -> WeightedTerms:
        other = material.make(self.loss)
        feeds, head = material.model.head.feeds, material.model.config["head"]["name"]
        for name, term in other.terms.items():
            if term.needs not in feeds:
                raise UserError(
                    f"strategy.loss.terms.{name} reads {term.needs}, which head={head} does not feed; "
                    "set head=dual, or strategy=none."
                )
        return StagedTerms(material.own, {STAGE: other})


class StagedTerms(WeightedTerms):
    """The run's loss and others, of which each stage minimises one."""

    def __init__(self, own: WeightedTerms, others: dict[str, WeightedTerms]) -> None:
        super().__init__(dict(own.terms.items()), own.weights)
        self.others = nn.ModuleDict(others)
        self.current: str | None = None

    @property
    def active(self) -> WeightedTerms:
        if self.current is None:
            return self
        other = self.others[self.current]
        assert isinstance(other, WeightedTerms)
        return other

    def begin(self, loss: str | None) -> None:
        self.current = loss

    def losses(self) -> list[WeightedTerms]:
        return [self, *self.others.values()]  # type: ignore[list-item]

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> tuple[Tensor, dict[str, Tensor]]:
        total, parts = self.active.own(prediction, batch, stats)
        return total + 0.0 * self._idle(total), parts

    def _idle(self, like: Tensor) -> Tensor:
        """What the losses that wait learn, summed up: several devices wait for a gradient of every parameter."""
        at_work = {id(parameter) for parameter in self.active.terms.parameters()}
        idle = [p.sum() for p in self.parameters() if p.requires_grad and id(p) not in at_work]
        return torch.stack(idle).sum() if idle else like.new_zeros(())
