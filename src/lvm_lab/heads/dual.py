"""The dual head: `raw` in the encoder's own distribution and its normalised twin `unit`.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.types import Prediction, Stats


class DualHead(nn.Module):
    """hidden (..., H) -> Prediction (..., D) by Linear, GELU, LayerNorm, Linear.

    The last layer speaks in standardised vectors and `raw = mean + std * z` puts its words into the
    encoder's distribution, so that a decoder gets vectors of the scale it was trained on from the
    first step. mean and std are the training part's and travel in the checkpoint.
    """

    mean_D: Tensor
    std_D: Tensor

    def __init__(self, width: int, stats: Stats, hidden: int = 512) -> None:
        super().__init__()
        if hidden < 1:
            raise UserError(f"head.hidden={hidden} is not a width; set head.hidden to 1 or more.")
        dim = len(stats.mean_D)
        self.project = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, dim))
        self.register_buffer("mean_D", stats.mean_D.clone())
        self.register_buffer("std_D", stats.std_D.clone())

    def forward(self, hidden: Tensor) -> Prediction:
        return Prediction.from_raw(self.mean_D + self.std_D * self.project(hidden))
