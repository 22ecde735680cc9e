"""InfoNCE (van den Oord et al. 2018): the target must be told from other chunks by its cosine.

Shape suffixes: B windows or segments, P supervised positions of a window, N = B x P local predictions, or those of
segments, G windows or segments of all devices, M further negatives, K candidates, L context length, D vector dim.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.gather import gather, rank
from lvm_lab.types import Batch, Prediction, Stats

NO_NEGATIVES = "InfoNCE's in_batch=false leaves no negatives; set loss.negatives to 1 or more, or own_context=true."


class InfoNCE(nn.Module):
    """Cross-entropy over ln(candidates): exactly 1 where a target's candidates all have one cosine with the prediction.

    That is chance, and not what every trivial predictor gets: cosines that differ for no good reason cost more. At the
    temperatures that training begins with, the training part's mean has 1.03 on the planted world, 1.15 on 60 Wikipedia
    articles and, with `loss=within_document`, 1.60 there; noise has 1.03 to 1.09. The mean's own loss is no divisor: it
    hangs on the temperature, which is learned, and on the batch. A target without a rival costs 0.
    With `symmetric`, the mean of both directions.

    In-batch negatives are the other windows' targets at the same position, but for those of the same
    document or with a cosine above `same_above` to the window's own: they may be right answers. Without
    `in_batch` the harder ones alone are left, and what tells documents apart is no longer learned.
    Harder negatives, from prediction to target only: other chunks of the same document
    (`batch.negatives_BMD`) and, with `own_context`, the vectors that the prediction was read from.

    Of segments, whose supervised places have read different parts of one document, the candidates are drawn once a
    segment. In-batch negatives are one target of each segment (`batch.pool_B`), the same for every place, masked as
    above; backwards, a target must be told from the predictions at those places. Harder negatives are the segment's
    `negatives_BMD`, of which each place has those masked that it has read and its own target: chunks that it has not
    come to yet are negatives. Where each segment supervises one place, all this is what windows have.

    The temperature is learned in log space and clamped to [.01, .5]; it has no weight decay.
    """

    needs = "prediction"

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        symmetric: bool = True,
        own_context: bool = False,
        same_above: float = 0.95,
        in_batch: bool = True,
    ) -> None:
        super().__init__()
        if symmetric and not in_batch:
            raise UserError(
                "InfoNCE's symmetric=true asks a target for its window among those of the batch; with in_batch=false "
                "set symmetric=false too."
            )
        if not 0.01 <= temperature <= 0.5:
            raise UserError(f"InfoNCE's temperature={temperature} is outside .01 to .5; set one between.")
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)
        self.symmetric, self.own_context, self.same_above = symmetric, own_context, same_above
        self.in_batch = in_batch

    @property
    def needs_others(self) -> bool:
        """Whether nothing but other chunks of the same document is left to tell the target from."""
        return not self.in_batch and not self.own_context

    def temperature(self) -> Tensor:
        # Projected back after the optimiser's step: a clamp in the graph would stop the gradient at the edge for good.
        with torch.no_grad():
            self.log_temperature.clamp_(math.log(0.01), math.log(0.5))
        return self.log_temperature.exp()

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        if batch.index_N is not None:
            return self._of_segments(prediction, batch, batch.index_N)
        if not self.in_batch:
            return self._within_document(prediction, batch)
        windows = len(batch.context_BLD)
        unit_PBD = _by_position(prediction.unit_ND, windows)
        target_PBD = F.normalize(_by_position(batch.target_ND, windows), dim=-1)
        # Documents are the same at every position of a window.
        document_B = _by_position(batch.document_N, windows)[0]
        every_unit_PGD, every_target_PGD = gather(unit_PBD, dim=1), gather(target_PBD, dim=1)
        own_B = torch.arange(windows, device=unit_PBD.device) + rank() * windows

        mask_PBG = target_PBD @ every_target_PGD.mT > self.same_above
        mask_PBG |= document_B[:, None] == gather(document_B)
        mask_PBG[:, torch.arange(windows, device=own_B.device), own_B] = False

        temperature = self.temperature()
        parts = [(unit_PBD @ every_target_PGD.mT, mask_PBG), *self._harder(unit_PBD, target_PBD, batch)]
        cosine_PBK, mask_PBK = (torch.cat(part, dim=2) for part in zip(*parts, strict=True))
        loss = _cross_entropy(cosine_PBK / temperature, mask_PBK, own_B)
        if not self.symmetric:
            return loss
        return (loss + _cross_entropy(target_PBD @ every_unit_PGD.mT / temperature, mask_PBG, own_B)) / 2

    def _within_document(self, prediction: Prediction, batch: Batch) -> Tensor:
        """Each target among its own window's further negatives alone."""
        windows = len(batch.context_BLD)
        unit_PBD = _by_position(prediction.unit_ND, windows)
        target_PBD = F.normalize(_by_position(batch.target_ND, windows), dim=-1)
        harder = self._harder(unit_PBD, target_PBD, batch)
        if not harder:
            raise UserError(NO_NEGATIVES)
        cosine_PB1 = (unit_PBD * target_PBD).sum(-1, keepdim=True)
        parts = [(cosine_PB1, torch.zeros_like(cosine_PB1, dtype=torch.bool)), *harder]
        cosine_PBK, mask_PBK = (torch.cat(part, dim=2) for part in zip(*parts, strict=True))
        own_B = torch.zeros(windows, dtype=torch.long, device=unit_PBD.device)
        return _cross_entropy(cosine_PBK / self.temperature(), mask_PBK, own_B)

    def _of_segments(self, prediction: Prediction, batch: Batch, index_N: Tensor) -> Tensor:
        """Each supervised place with its target first, then the pool, then further negatives of its segment."""
        unit_ND, target_ND = prediction.unit_ND, F.normalize(batch.target_ND, dim=-1)
        own_N1 = (unit_ND * target_ND).sum(-1, keepdim=True)
        forwards = [(own_N1, torch.zeros_like(own_N1, dtype=torch.bool))]
        backwards = [*forwards]
        if self.in_batch:
            assert batch.pool_B is not None
            unit_GD, target_GD = gather(unit_ND[batch.pool_B]), gather(target_ND[batch.pool_B])
            mask_NG = target_ND @ target_GD.T > self.same_above
            # A place's own segment is of its document too.
            mask_NG |= batch.document_N[:, None] == gather(batch.document_N[batch.pool_B])
            forwards.append((unit_ND @ target_GD.T, mask_NG))
            backwards.append((target_ND @ unit_GD.T, mask_NG))
        forwards += self._harder_of_segments(unit_ND, target_ND, batch, index_N)
        if len(forwards) == 1:
            raise UserError(NO_NEGATIVES)
        loss = _first_among(forwards, self.temperature())
        return (loss + _first_among(backwards, self.temperature())) / 2 if self.symmetric else loss

    def _harder_of_segments(
        self, unit_ND: Tensor, target_ND: Tensor, batch: Batch, index_N: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Cosines with further negatives of each place's segment and which of them are masked, N x M each."""
        batch_size, length = batch.context_BLD.shape[:2]
        segment_N, place_N1 = index_N // length, (index_N % length)[:, None]
        others = []
        if batch.negatives_BMD is not None and batch.negatives_mask_BM is not None and batch.place_BM is not None:
            place_NM = batch.place_BM[segment_N]
            known_NM = (place_NM >= 0) & (place_NM <= place_N1 + 1)
            others.append((batch.negatives_BMD, batch.negatives_mask_BM[segment_N] & ~known_NM))
        if self.own_context:
            others.append((batch.context_BLD, torch.arange(length, device=index_N.device) <= place_N1))

        def at_places(x_ND: Tensor, others_BMD: Tensor) -> Tensor:
            # One product a segment: a copy of its negatives for every place would take L times their memory.
            grid_BLD = x_ND.new_zeros(batch_size * length, x_ND.shape[1]).index_copy(0, index_N, x_ND)
            return (grid_BLD.view(batch_size, length, -1) @ others_BMD.mT).flatten(0, 1)[index_N]

        pairs = []
        for others_BMD, keep_NM in others:
            others_BMD = F.normalize(others_BMD, dim=-1)
            close_NM = at_places(target_ND, others_BMD) > self.same_above
            pairs.append((at_places(unit_ND, others_BMD), close_NM | ~keep_NM))
        return pairs

    def _harder(self, unit_PBD: Tensor, target_PBD: Tensor, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Cosines with further negatives of each window and which of them are masked, P x B x M each."""
        positions, _, length = *unit_PBD.shape[:2], batch.context_BLD.shape[1]
        others = []
        if batch.negatives_BMD is not None and batch.negatives_mask_BM is not None:
            others.append((batch.negatives_BMD, batch.negatives_mask_BM.expand(positions, -1, -1)))
        if self.own_context:
            # Supervised position p has read the context up to length - positions + p.
            read_PL = torch.ones(positions, length, dtype=torch.bool, device=unit_PBD.device).tril(length - positions)
            others.append((batch.context_BLD, read_PL[:, None].expand(-1, len(batch.context_BLD), -1)))
        pairs = []
        for others_BMD, keep_PBM in others:
            others_BMD = F.normalize(others_BMD, dim=-1)
            close_PBM = torch.einsum("pbd,bmd->pbm", target_PBD, others_BMD) > self.same_above
            pairs.append((torch.einsum("pbd,bmd->pbm", unit_PBD, others_BMD), close_PBM | ~keep_PBM))
        return pairs


def _by_position(x_N: Tensor, windows: int) -> Tensor:
    """Rows b * P + p to P x B: every position has the batch's windows as its own candidates."""
    return x_N.view(windows, -1, *x_N.shape[1:]).transpose(0, 1)


def _first_among(parts: list[tuple[Tensor, Tensor]], temperature: Tensor) -> Tensor:
    """The cross-entropy of the first candidate of each row; parts: cosines and which of them are masked."""
    cosine_NK, mask_NK = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
    first_N = torch.zeros(len(cosine_NK), dtype=torch.long, device=cosine_NK.device)
    return _cross_entropy((cosine_NK / temperature)[None], mask_NK[None], first_N)


def _cross_entropy(logits_PBK: Tensor, mask_PBK: Tensor, own_B: Tensor) -> Tensor:
    """Mean over rows of the cross-entropy over ln(candidates).

    Masked after the division by the temperature, whose gradient would be 0 x inf otherwise.
    """
    candidates_PB = (~mask_PBK).sum(-1).clamp_min(2)
    log_share_PBK = logits_PBK.masked_fill(mask_PBK, -math.inf).log_softmax(-1)
    own_PB1 = own_B.expand(len(logits_PBK), -1)[..., None]
    return (-log_share_PBK.gather(2, own_PB1)[..., 0] / candidates_PB.log()).mean()
