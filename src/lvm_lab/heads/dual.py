"""The dual head: `raw` in the encoder's own distribution and its normalised twin `unit`.

Shape suffixes: D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.head import Head, Mix, Predict
from lvm_lab.types import Prediction, Reading, Stats


class DualHead(Head):
    """hidden (..., H) -> Prediction (..., D) by Linear, GELU, LayerNorm, Linear.

    The last layer's output z is a standardised vector and `raw = mean + std * z` puts it into the
    encoder's distribution, so that a decoder gets vectors of the scale it was trained on from the
    first step. mean and std are the training part's and travel in the checkpoint.
    """

    def __init__(
        self,
        width: int,
        stats: Stats,
        hidden: int = 512,
        predict: Predict = "absolute",
        taps: int = 5,
        mix: Mix = "fixed",
    ) -> None:
        super().__init__(stats, predict, taps, mix, width)
        if hidden < 1:
            raise UserError(f"head.hidden={hidden} is not a width; set head.hidden to 1 or more.")
        dim = len(stats.mean_D)
        self.project = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, dim))
        self.zero_init(self.project[-1])

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        return Prediction.from_raw(self.base(reading) + self.normaliser.unscale(self.project(hidden_NH)))
