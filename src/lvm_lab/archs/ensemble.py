"""An ensemble: trained models that predict side by side, and how much each of them counts.

Shape suffixes: B batch, L context length, D vector dim, E members, W gate width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.blocks import InputProjection, check_sizes


class Ensemble(nn.Module):
    """Frozen members and their weights; `head=ensemble` mixes them: unit = normalise(sum of weight * unit).

    `forward(x_BLD)` gives one place, (B, 1, E (2 D + 1)): every member's raw, every member's unit, the weights.
    Short contexts: each member counts places as its own arch does.

    mix: mean counts all alike; weighted learns one weight a member; gate learns weights that depend on the context.
    Both begin as the mean. members: modules with `predict(context_BLD) -> Prediction`, loaded by the caller.
    """

    causal: bool = False
    needs_head: str = "ensemble"

    def __init__(
        self,
        dim: int,
        context_length: int,
        *,
        members: Sequence[nn.Module],
        mix: Literal["mean", "weighted", "gate"] = "mean",
        gate_width: int = 64,
    ) -> None:
        check_sizes("ensemble", dim=dim, context_length=context_length, gate_width=gate_width)
        if not members:
            raise UserError("ensemble: members is empty; set it to one or more run folders or checkpoints.")
        super().__init__()
        self.members = nn.ModuleList(members).requires_grad_(False)
        self.width = len(members) * (2 * dim + 1)
        self.weights = nn.Parameter(torch.zeros(len(members))) if mix == "weighted" else None
        self.gate = _Gate(dim, gate_width, len(members)) if mix == "gate" else None

    def train(self, mode: bool = True) -> Ensemble:
        super().train(mode)
        # Members are read, not trained: no dropout in them.
        self.members.eval()
        return self

    def forward(self, x_BLD: Tensor) -> Tensor:
        members: list[Any] = list(self.members)
        predictions = [member.forward(x_BLD) for member in members]
        if self.gate is not None:
            score_BE = self.gate(x_BLD)
        else:
            scores_E = x_BLD.new_zeros(len(self.members)) if self.weights is None else self.weights
            score_BE = scores_E.expand(len(x_BLD), -1)
        raws = [prediction.raw_ND for prediction in predictions]
        units = [prediction.unit_ND for prediction in predictions]
        return torch.cat([*raws, *units, score_BE.softmax(-1)], dim=-1)[:, None]


class _Gate(nn.Module):
    """Scores of the members from the last vector and the mean of the context; all zero to begin with."""

    def __init__(self, dim: int, width: int, members: int) -> None:
        super().__init__()
        self.input = InputProjection(dim, width)
        self.between = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        self.score = nn.Linear(width, members)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, x_BLD: Tensor) -> Tensor:
        seen_BLW = self.input(x_BLD)
        score_BE: Tensor = self.score(self.between(torch.cat([seen_BLW[:, -1], seen_BLW.mean(1)], dim=-1)))
        return score_BE
