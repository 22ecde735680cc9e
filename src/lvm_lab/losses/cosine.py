"""One minus the cosine between prediction and target."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.types import Batch, Prediction, Stats


class Cosine(nn.Module):
    """mean over rows of 1 - cos(unit, target): 1 for a prediction that has nothing to do with the target."""

    needs = "prediction"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        return 1 - F.cosine_similarity(prediction.unit_ND, batch.target_ND, dim=-1).mean()
