"""The cross-entropy of the next vector's codes.

Shape suffixes: Q levels, N rows, K codes a level.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.types import Batch, Prediction, Stats


class Codes(nn.Module):
    """mean over levels and rows of the cross-entropy of the true code, over ln(codes): 1 for the uniform predictor.

    Each level is given the true codes of those before it, so that ln(codes) times the levels times this is the negative
    log-likelihood of the whole code (Lee et al. 2022, arXiv:2203.01941, section 3.2; as next-concept loss: Large
    Concept Model, arXiv:2412.08821, section 2.4).
    """

    needs = "codes"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        assert prediction.logits_QNK is not None
        assert prediction.code_QN is not None
        logits_MK, code_M = prediction.logits_QNK.flatten(0, 1), prediction.code_QN.flatten()
        return F.cross_entropy(logits_MK, code_M) / math.log(logits_MK.shape[1])
