"""The words every part shares: batches, predictions, statistics and the protocols between them.

Shape suffixes: B batch, L context length, D vector dim, H hidden dim, M negatives a row,
N predictions (B, or B x L when every position is supervised).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """The two outputs of every predictor.

    raw_ND: lives in the encoder's own distribution; what a decoder gets.
    unit_ND: its L2-normalised twin, for cosine, retrieval and contrastive losses.
    """

    raw_ND: Tensor
    unit_ND: Tensor

    @classmethod
    def from_raw(cls, raw_ND: Tensor) -> Prediction:
        return cls(raw_ND, F.normalize(raw_ND, dim=-1))


@dataclass(frozen=True)
class Batch:
    """What a loss sees beside the prediction. Vectors are float32.

    context_BLD: the vectors that were read, oldest first.
    target_ND: the vectors that come next; N = B, or B x L with row b * L + t the target of position t.
    document_N: the document's number, to mask same-document rows among in-batch negatives.
    negatives_BMD, negatives_mask_BM: other chunks of the same document (context and target
        excluded) and which of them are real; None when the loss asks for none.
    """

    context_BLD: Tensor
    target_ND: Tensor
    document_N: Tensor
    negatives_BMD: Tensor | None = None
    negatives_mask_BM: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        return Batch(*(None if x is None else x.to(device) for x in vars(self).values()))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stats:
    """Statistics of the training part's vectors, per dimension, in the encoder's own units."""

    mean_D: Tensor
    std_D: Tensor

    def standardise(self, x_ND: Tensor) -> Tensor:
        return (x_ND - self.mean_D) / self.std_D


@runtime_checkable
class Predictor(Protocol):
    """Anything that turns a context into a prediction: a model, a baseline, an oracle, a server."""

    def __call__(self, context_BLD: Tensor) -> Prediction: ...


class Backbone(Protocol):
    """A plain nn.Module. `causal`: hidden[:, t] depends on x[:, : t + 1] alone; `width` is H."""

    causal: bool
    width: int

    def __call__(self, x_BLD: Tensor) -> Tensor: ...


class Term(Protocol):
    """One loss term: a scalar that is 1 for a trivial predictor, before its weight."""

    def __call__(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor: ...


def count_parameters(module: torch.nn.Module) -> int:
    """The number of trainable numbers in a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
