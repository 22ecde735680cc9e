"""A moving average of the weights, which is validated, judged and kept in place of those that are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

# Where a last.ckpt holds the weights that are trained, beside the average that any reader sees.
KEY = "ema"
TRAINED = "trained_weights"


class WeightAverage:
    """average = decay * average + (1 - decay) * weights after every step of the optimiser, from the first step's on.

    Buffers (statistics) are those of the module. The module's own tensors hold either of the two: `exchange` swaps the
    values bit by bit, so that whoever asks the module for a prediction gets the one that is in place.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.other = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.in_place = False

    @property
    def updates(self) -> int:
        return int(self.other.n_averaged)

    def update(self) -> None:
        assert not self.in_place, "the average is no weight to be trained"
        self.other.update_parameters(self.module)

    def weights(self) -> dict[str, Tensor]:
        return self._holder(average=True).state_dict()

    def trained_weights(self) -> dict[str, Tensor]:
        return self._holder(average=False).state_dict()

    def exchange(self) -> None:
        """Put into the module's tensors the average where it trained, and what it trained where it has the average."""
        with torch.no_grad():
            for here, there in zip(self.module.parameters(), self.other.module.parameters(), strict=True):
                value = here.clone()
                here.copy_(there)
                there.copy_(value)
        self.in_place = not self.in_place

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The module holds the average."""
        before = self.in_place
        if not before:
            self.exchange()
        try:
            yield
        finally:
            if not before:
                self.exchange()

    def restore(self, load: Callable[[Mapping[str, Any]], Any], weights: Mapping[str, Tensor], updates: int) -> None:
        """Go on with an average. load: gives the module weights by their names in a checkpoint."""
        with self.shown():
            load(weights)
        self.other.n_averaged.fill_(updates)

    def _holder(self, average: bool) -> nn.Module:
        return self.module if average == self.in_place else self.other.module


def trained(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that a checkpoint's training goes on with, by their names in it: without an average its only ones."""
    own: dict[str, Tensor] = checkpoint.get(KEY, {}).get(TRAINED, checkpoint["state_dict"])
    return own
