"""A loss: weighted terms, their total and every part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lvm_lab.nn.gather import summed
from lvm_lab.types import Batch, Prediction, Stats


class WeightedTerms(nn.Module):
    """(prediction, batch, stats) -> the weighted sum and each term's value before its weight.

    A strategy's objective derives from it: it minimises something else, and `own` is still the run's loss. What learns
    beside the run's terms has names of its own, besides `terms`, and goes when the training is over.
    reads_states: whether predictions have to bring the backbone's states.
    """

    reads_states = False

    def __init__(self, terms: dict[str, nn.Module], weights: dict[str, float]) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.weights = weights

    def begin(self, loss: str | None) -> None:
        """From here on training minimises this one of the losses; None: the run's own."""

    @property
    def active(self) -> WeightedTerms:
        """The loss that is minimised now."""
        return self

    def losses(self) -> list[WeightedTerms]:
        """Every loss that some stage minimises."""
        return [self]

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> tuple[Tensor, dict[str, Tensor]]:
        """What training minimises."""
        return self.own(prediction, batch, stats)

    def own(self, prediction: Prediction, batch: Batch, stats: Stats) -> tuple[Tensor, dict[str, Tensor]]:
        """The run's own loss, which validation measures in every stage."""
        parts = {name: term(prediction, batch, stats) for name, term in self.terms.items()}
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return total, parts

    def gradient_shares(
        self, prediction: Prediction, parts: dict[str, Tensor], outputs: Sequence[Tensor] | None = None
    ) -> dict[str, float]:
        """Each weighted term's share of the gradient norms at what the head says: what the weights really weigh.

        outputs: the head's own of each piece, where the prediction was computed in pieces.
        """
        outputs = [prediction.output] if outputs is None else outputs
        if not outputs[0].requires_grad:
            # A mean of trained members has nothing to learn.
            return {}
        norms = {}
        for name, part in parts.items():
            gradients = torch.autograd.grad(self.weights[name] * part, outputs, retain_graph=True, allow_unused=True)
            squared = [g.square().sum() for g in gradients if g is not None]
            norms[name] = float(summed(torch.stack([outputs[0].new_zeros(()), *squared]).sum()).sqrt())
        total = sum(norms.values()) or 1.0
        return {name: norm / total for name, norm in norms.items()}
