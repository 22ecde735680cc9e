"""Moment matching: holds `raw` to the mean and the spread of the encoder's own vectors."""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.nn.gather import gather
from lvm_lab.types import Batch, Prediction, Stats


class Moment(nn.Module):
    """mean over dimensions of mean(z)^2 + (std(z) - 1)^2, with z the standardised `raw` of the global batch.

    1 for a constant prediction at the training part's mean. Losses that see `unit` alone leave the
    scale of `raw` free; this term is what a decoder needs from them.
    """

    needs = "prediction"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        z_ND = stats.standardise(gather(prediction.raw_ND, ragged=batch.ragged))
        spread_D = (z_ND.var(0, unbiased=False) + 1e-8).sqrt()
        return z_ND.mean(0).square().mean() + (spread_D - 1).square().mean()
