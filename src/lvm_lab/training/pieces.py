"""A batch computed in pieces, one after the other, for a loss that sees the whole of it.

Only one piece's activations are in memory at a time: they are computed again when the loss is differentiated, with the
same random numbers. What the loss compares (InfoNCE's candidates, the moments of a batch) stays the whole batch, as in
Gao et al. 2021 (arXiv:2101.06983, gradient caching), at the price of one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lvm_lab.types import Batch, Prediction

Supervise = Callable[[Batch], tuple[Prediction, Batch]]
Rows = TypeVar("Rows", Batch, Prediction)


def supervised(supervise: Supervise, batch: Batch, count: int) -> tuple[Prediction, Batch, list[Tensor]]:
    """`supervise(batch)`, computed in `count` pieces, and the head's own output of each.

    Every tensor of a batch has its windows, or its rows in their order, as first dimension.
    """
    results = [
        # The context stands apart so that the random state of its device is kept too.
        checkpoint(lambda _, piece=piece: supervise(piece), piece.context_BLD, use_reentrant=False)
        for piece in _cut(batch, min(count, len(batch.context_BLD)))
    ]
    predictions, batches = [prediction for prediction, _ in results], [piece for _, piece in results]
    return _joined(predictions), _joined(batches), [prediction.output for prediction in predictions]


def _cut(batch: Batch, count: int) -> list[Batch]:
    cut: dict[str, Any] = {
        name: [None] * count if x is None else x.tensor_split(count) for name, x in _values(batch).items()
    }
    return [type(batch)(**{name: parts[i] for name, parts in cut.items()}) for i in range(count)]


def _joined(pieces: Sequence[Rows]) -> Rows:
    values = [_values(piece) for piece in pieces]
    joined: dict[str, Any] = {
        name: None if x is None else torch.cat([piece[name] for piece in values], dim=_rows_dim(name))
        for name, x in values[0].items()
    }
    return type(pieces[0])(**joined)


def _rows_dim(name: str) -> int:
    """Draws and noise levels stand before the rows, which a name's shape suffix says."""
    return int(name.rpartition("_")[2].startswith("SN"))


def _values(node: Any) -> dict[str, Any]:
    return {field.name: getattr(node, field.name) for field in fields(node)}
