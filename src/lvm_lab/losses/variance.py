"""The variance hinge of VICReg (Bardes et al. 2022), on the targets' own scale."""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.nn.gather import gather
from lvm_lab.types import Batch, Prediction, Stats


class Variance(nn.Module):
    """mean over dimensions of relu(1 - std(raw) / gamma), gamma being the training targets' std.

    1 for a constant prediction. VICReg's gamma of 1 is always saturated on unit vectors, whose
    std is about 1 / sqrt(D).
    """

    needs = "prediction"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        spread_D = (gather(prediction.raw_ND, ragged=batch.ragged).var(0, unbiased=False) + 1e-12).sqrt()
        return (1 - spread_D / stats.std_D).relu().mean()
