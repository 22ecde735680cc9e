"""Random vectors of the encoder's spread: what chance reaches.

Shape suffixes: B batch, L context length, D vector dim, F = L x D features, P vectors of the pool.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.types import Prediction, Stats

# A million pairs: drawing D numbers anew for each context would take longer than the models do.
POOL = 1024


class Random(Baseline):
    """raw drawn from a normal of the training part's mean and std: equal contexts get equal draws, others others.

    A draw is mean + std * (p + q) / sqrt(2), p and q two of 1,024 seeded standard normal vectors, chosen by a
    multilinear hash of the context's bits (Lemire and Kaser 2014, arXiv:1202.4961).
    """

    name = "random"
    trivial = True

    def __init__(self, stats: Stats, seed: int = 0) -> None:
        self.mean_D, self.std_D, self.seed = stats.mean_D, stats.std_D, seed
        generator = torch.Generator().manual_seed(seed)
        self.pool_PD = torch.randn(POOL, len(stats.mean_D), generator=generator)

    @classmethod
    def fit(cls, data: FitData, seed: int = 0) -> Self:
        return cls(data.stats, seed)

    def __call__(self, context_BLD: Tensor) -> Prediction:
        key_B = self._hash(context_BLD.float().flatten(1))
        first_B, second_B = (key_B >> 54) & (POOL - 1), (key_B >> 44) & (POOL - 1)
        pool_PD = self.pool_PD.to(context_BLD)
        noise_BD = (pool_PD[first_B] + pool_PD[second_B]) / 2**0.5
        return Prediction.from_raw(self.mean_D.to(context_BLD) + self.std_D.to(context_BLD) * noise_BD)

    def _hash(self, context_BF: Tensor) -> Tensor:
        """64 bits a context, of which the highest are the best mixed."""
        bits_BF = F.pad(context_BF, (0, context_BF.shape[1] % 2)).contiguous().view(torch.int64)
        generator = torch.Generator().manual_seed(self.seed)
        whole = torch.iinfo(torch.int64)
        odd_F = torch.randint(whole.min, whole.max, bits_BF.shape[1:], generator=generator) | 1
        key_B: Tensor = (bits_BF * odd_F.to(bits_BF.device)).sum(dim=1)
        return key_B
