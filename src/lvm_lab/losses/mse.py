"""Squared error of `raw` on standardised vectors."""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.types import Batch, Prediction, Stats


class MSE(nn.Module):
    """mean over rows and dimensions of ((raw - target) / std)^2: 1 for the training part's mean.

    It has the best distance and the worst ranking of the losses: the mean of what may come is its
    optimum, wherever that lies between the true next vectors.
    """

    needs = "prediction"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        return ((prediction.raw_ND - batch.target_ND) / stats.std_D).square().mean()
