"""The identity head: the backbone's state is the prediction, for backbones that work in the vectors' own space.

Shape suffixes: D vector dim, H hidden dim, N predictions.
"""

from __future__ import annotations

from torch import Tensor

from lvm_lab.errors import UserError
from lvm_lab.nn.head import Head
from lvm_lab.types import Prediction, Reading, Stats


class IdentityHead(Head):
    """hidden (N, D) -> Prediction (N, D): raw is the state, out of the normaliser's units where there is one.

    Raises UserError for a backbone whose width is not D.
    """

    def __init__(self, width: int, stats: Stats) -> None:
        super().__init__(stats, "absolute")
        dim = len(stats.mean_D)
        if width != dim:
            raise UserError(
                f"head=identity needs a backbone as wide as the vectors ({dim}) and this one has {width}; "
                "set head=linear or head=dual."
            )
        self.normalised = stats.centre_D is not None

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        if self.normalised:
            return Prediction.from_raw(self.base(reading) + self.normaliser.unscale(hidden_NH))
        return Prediction.from_raw(hidden_NH)
