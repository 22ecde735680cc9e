"""The ensemble's head: the members' predictions, mixed by their weights.

Shape suffixes: D vector dim, E members, H = E (2 D + 1), N predictions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from lvm_lab.nn.head import Head
from lvm_lab.types import Prediction, Reading, Stats


class EnsembleHead(Head):
    """hidden (N, H) of arch=ensemble -> Prediction: unit from the weighted mean of units, raw from that of raws.

    The units' mean is what an ensemble of rankings wants; raws keep each member's own length.
    """

    def __init__(self, width: int, stats: Stats) -> None:
        super().__init__(stats, "absolute")
        self.dim = len(stats.mean_D)
        self.members = width // (2 * self.dim + 1)

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        vectors_NX, weight_NE = hidden_NH[:, : -self.members], hidden_NH[:, -self.members :, None]
        raw_NED, unit_NED = vectors_NX.unflatten(1, (2, self.members, self.dim)).unbind(1)
        unit_ND = F.normalize((weight_NE * unit_NED).sum(1), dim=-1)
        return Prediction((weight_NE * raw_NED).sum(1), unit_ND)
