"""The energy score: draws near the target, and apart from each other.

Shape suffixes: S draws, N rows, D vector dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lvm_lab.nn.gather import gather
from lvm_lab.types import Batch, Prediction, Stats


class Energy(nn.Module):
    """2 mean_i ||x_i - y|| - mean_{i != j} ||x_i - x_j|| on standardised vectors, over its value for their mean.

    The energy score is strictly proper: the distribution that it was drawn from is the only optimum (Gneiting and
    Raftery 2007, JASA 102; as a loss of latent language models: CALM, arXiv:2510.27688). 1 for draws that are all
    the training part's mean: 2 mean ||y|| of the batch's standardised targets is what it is divided by.
    """

    needs = "draws"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        assert prediction.draws_SND is not None
        x_SND, y_ND = stats.standardise(prediction.draws_SND), stats.standardise(batch.target_ND)
        draws = len(x_SND)
        if draws < 2:
            raise ValueError(f"the energy score compares two draws or more and got {draws}")
        first_P, second_P = torch.triu_indices(draws, draws, offset=1, device=x_SND.device)
        # The pairs' mean over i < j is that over i != j, and no distance of a draw to itself asks for a gradient.
        score_N = 2 * _length(x_SND - y_ND).mean(0) - _length(x_SND[first_P] - x_SND[second_P]).mean(0)
        return score_N.mean() / (2 * gather(_length(y_ND), ragged=batch.ragged).mean())


def _length(x_ND: Tensor) -> Tensor:
    """The norm, with a gradient of 0 where draws coincide."""
    return (x_ND.square().sum(-1) + 1e-12).sqrt()
