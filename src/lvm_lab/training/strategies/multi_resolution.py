"""Multi-resolution training: the loss at fewer dims too, in the directions along which the vectors vary most.

Shape suffixes: D vector dim, K dims of a lower resolution, H hidden dim, N predictions.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.heads.dual import DualHead
from lvm_lab.training.objective import WeightedTerms
from lvm_lab.training.strategies.base import Material, Strategy
from lvm_lab.types import Batch, Prediction, Stats


class MultiResolution(Strategy):
    """fractions: of the vectors' dims, one a lower resolution; the whole is always there. weight: of the loss at each
    lower one, beside 1 at the whole. consistency: the weight of 1 - cos between the prediction of the whole, projected,
    and that of the lower resolution's own head. hidden: the width of the layer between in those heads.

    A lower resolution has a head of its own on the backbone's state, a dual one in its K dims. Basis and heads are the
    training's alone: they lie among the loss's weights in a checkpoint, and whoever loads it gets the plain model.
    """

    def __init__(self, fractions: list[float], weight: float, consistency: float, hidden: int = 256) -> None:
        for fraction in fractions:
            if not isinstance(fraction, int | float) or not 0 < fraction < 1:
                raise UserError(
                    f"strategy.fractions={fractions!r} does not fit; list shares of the dims above 0 and below 1."
                )
        if not fractions or len(set(fractions)) < len(fractions):
            raise UserError(f"strategy.fractions={fractions!r} does not fit; list one share or several, each once.")
        for name, value in (("weight", weight), ("consistency", consistency)):
            if value < 0:
                raise UserError(f"strategy.{name}={value} must be 0 or greater.")
        if hidden < 1:
            raise UserError(f"strategy.hidden={hidden} is not a width; set 1 or more.")
        self.fractions, self.weight, self.consistency, self.hidden = fractions, weight, consistency, hidden

    def objective(self, material: Material) -> WeightedTerms:
        own, model, training = material.own, material.model, material.parts.training
        assert training is not None, "parts are cut from a store"
        for name, term in own.terms.items():
            if term.needs != "prediction":
                raise UserError(
                    f"strategy=multi_resolution asks for a loss of plain predictions, and loss.terms.{name} reads "
                    f"{term.needs}; set loss=infonce head=dual, or strategy=none."
                )
        stats = training.whitening()
        assert stats.centre_D is not None
        assert stats.scale_D is not None
        assert stats.basis_DD is not None
        width, resolutions = model.backbone.width, []
        assert isinstance(width, int), "a backbone says how wide its states are"
        # The model's own weights stay those that it has without a strategy.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(material.seed)
            for fraction in self.fractions:
                dims = max(1, round(fraction * len(stats.mean_D)))
                basis_DK = stats.basis_DD[:, -dims:].contiguous()
                low = Stats(stats.centre_D @ basis_DK, stats.scale_D[-dims:].clone())
                resolutions.append(Resolution(basis_DK, DualHead(width, low, self.hidden), low))
        return ResolutionTerms(own, resolutions, self.weight, self.consistency)


class Resolution(nn.Module):
    """Vectors in K of the directions of the training part, and what predicts them there."""

    basis_DK: Tensor
    mean_K: Tensor
    std_K: Tensor

    def __init__(self, basis_DK: Tensor, head: nn.Module, stats: Stats) -> None:
        super().__init__()
        self.head = head
        self.register_buffer("basis_DK", basis_DK)
        self.register_buffer("mean_K", stats.mean_D)
        self.register_buffer("std_K", stats.std_D)

    @property
    def dims(self) -> int:
        return self.basis_DK.shape[1]

    @property
    def stats(self) -> Stats:
        return Stats(self.mean_K, self.std_K)

    def project(self, batch: Batch) -> Batch:
        """The batch with every vector in it at this resolution."""
        floats = {name: x for name, x in vars(batch).items() if x is not None and x.is_floating_point()}
        return replace(batch, **{name: x @ self.basis_DK.to(x) for name, x in floats.items()})


class ResolutionTerms(WeightedTerms):
    """The run's loss at the whole resolution and at lower ones, and a consistency term for each of these.

    That term is mean over rows of 1 - cos: 1 for two predictions that have nothing to do with one another.
    """

    reads_states = True

    def __init__(self, own: WeightedTerms, resolutions: list[Resolution], weight: float, consistency: float) -> None:
        low = {f"{name}_{r.dims}": weight * own.weights[name] for r in resolutions for name in own.terms}
        agree = {f"consistency_{r.dims}": consistency for r in resolutions}
        super().__init__(dict(own.terms.items()), own.weights | low | agree)
        self.resolutions = nn.ModuleList(resolutions)

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> tuple[Tensor, dict[str, Tensor]]:
        _, parts = self.own(prediction, batch, stats)
        for resolution in self.resolutions:
            assert isinstance(resolution, Resolution)
            low = resolution.head(prediction.hidden_NH)
            there = resolution.project(batch)
            parts |= {f"{name}_{resolution.dims}": t(low, there, resolution.stats) for name, t in self.terms.items()}
            projected_NK = prediction.raw_ND @ resolution.basis_DK.to(prediction.raw_ND)
            cosine_N = F.cosine_similarity(projected_NK, low.raw_ND, dim=-1)
            parts[f"consistency_{resolution.dims}"] = 1 - cosine_N.mean()
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        return total, parts
