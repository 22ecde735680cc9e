"""The linear head: one affine map, for models that are linear as a whole.

Shape suffixes: D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.nn.head import Head, Mix, Predict
from lvm_lab.types import Prediction, Reading, Stats


class LinearHead(Head):
    """hidden (N, H) -> Prediction (N, D): raw = mean + std * (W hidden + b)."""

    def __init__(
        self, width: int, stats: Stats, predict: Predict = "absolute", taps: int = 5, mix: Mix = "fixed"
    ) -> None:
        super().__init__(stats, predict, taps, mix, width)
        self.project = nn.Linear(width, len(stats.mean_D))
        self.zero_init(self.project)

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        return Prediction.from_raw(self.base(reading) + self.normaliser.unscale(self.project(hidden_NH)))
