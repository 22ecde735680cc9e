"""What every head shares: the units it speaks in and what its words are added to.

Shape suffixes: D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from lvm_lab.types import Prediction, Reading, Stats
from lvm_lab.units import Units

Predict = Literal["absolute", "delta_last", "delta_mean"]


class Head(nn.Module):
    """`head(hidden_NH, reading) -> Prediction`; `learn` is the same for a loss, with the target in sight.

    feeds: what its predictions bring for losses, of "prediction" (raw and unit), "draws" and "denoised".
    predict: what the head's words, z in units, are added to. absolute: raw = centre + scale * z; delta_last and
        delta_mean: the last vector, or the mean of all vectors, that the prediction was read from. Only these two,
        and heads with `looks_back`, need the reading.
    """

    feeds: frozenset[str] = frozenset({"prediction"})

    def __init__(self, stats: Stats, predict: Predict) -> None:
        super().__init__()
        self.predict = predict
        self.units = Units(stats)

    def learn(self, hidden_NH: Tensor, target_ND: Tensor, reading: Reading) -> Prediction:
        """What a loss gets: the prediction, unless the head learns from something else."""
        prediction: Prediction = self(hidden_NH, reading)
        return prediction

    def base(self, reading: Reading | None) -> Tensor:
        """What z = 0 says: (D,) or (N, D)."""
        if self.predict == "absolute":
            return self.units.centre_D
        if reading is None:
            raise ValueError(f"head.predict={self.predict} adds to the context; pass the reading to the head too")
        return reading.last_ND if self.predict == "delta_last" else reading.mean_ND

    def begin(self, last: nn.Module) -> None:
        """A head that adds to the context begins with nothing to add."""
        if self.predict != "absolute":
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
