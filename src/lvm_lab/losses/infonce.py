"""InfoNCE (van den Oord et al. 2018): the target must be told from other chunks by its cosine.

Shape suffixes: B windows, P supervised positions of a window, N = B x P local predictions,
G predictions of all devices, M negatives a window, L context length, D vector dim.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.losses._gather import gather, rank
from lvm_lab.types import Batch, Prediction, Stats


class InfoNCE(nn.Module):
    """Cross-entropy over ln(candidates), so that 1 is chance; with `symmetric`, the mean of both directions.

    In-batch negatives are the other rows' targets, but for rows of the same document and for
    targets with a cosine above `same_above` to the row's own: those may be right answers.
    Harder negatives, from prediction to target only: other chunks of the same document
    (`batch.negatives_BMD`) and, with `own_context`, the vectors that the prediction was read from.
    The temperature is learned in log space and clamped to [.01, .5]; it has no weight decay.
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        symmetric: bool = True,
        own_context: bool = False,
        same_above: float = 0.95,
    ) -> None:
        super().__init__()
        if not 0.01 <= temperature <= 0.5:
            raise UserError(f"InfoNCE's temperature={temperature} is outside .01 to .5; set one between.")
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)
        self.symmetric, self.own_context, self.same_above = symmetric, own_context, same_above

    def temperature(self) -> Tensor:
        # Projected back after the optimiser's step: a clamp in the graph would stop the gradient at the edge for good.
        with torch.no_grad():
            self.log_temperature.clamp_(math.log(0.01), math.log(0.5))
        return self.log_temperature.exp()

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        unit_ND = prediction.unit_ND
        target_ND = F.normalize(batch.target_ND, dim=-1)
        every_unit_GD, every_target_GD, document_G = gather(unit_ND), gather(target_ND), gather(batch.document_N)
        own_N = torch.arange(len(unit_ND), device=unit_ND.device) + rank() * len(unit_ND)

        masked_NG = batch.document_N[:, None] == document_G
        masked_NG |= target_ND @ every_target_GD.T > self.same_above
        masked_NG[torch.arange(len(own_N), device=own_N.device), own_N] = False

        temperature = self.temperature()
        parts = [(unit_ND @ every_target_GD.T, masked_NG), *self._harder(unit_ND, target_ND, batch)]
        cosine_NK, masked_NK = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        loss = _cross_entropy(cosine_NK / temperature, masked_NK, own_N)
        if not self.symmetric:
            return loss
        return (loss + _cross_entropy(target_ND @ every_unit_GD.T / temperature, masked_NG, own_N)) / 2

    def _harder(self, unit_ND: Tensor, target_ND: Tensor, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Cosines with further negatives and which of them are masked."""
        windows, length, dim = batch.context_BLD.shape
        unit_BPD, target_BPD = unit_ND.view(windows, -1, dim), target_ND.view(windows, -1, dim)
        positions = unit_BPD.shape[1]
        others = []
        if batch.negatives_BMD is not None and batch.negatives_mask_BM is not None:
            others.append((batch.negatives_BMD, batch.negatives_mask_BM[:, None].expand(-1, positions, -1)))
        if self.own_context:
            # Supervised position p has read the context up to length - positions + p.
            read = torch.ones(positions, length, dtype=torch.bool, device=unit_ND.device).tril(length - positions)
            others.append((batch.context_BLD, read.expand(windows, -1, -1)))
        found = []
        for others_BMD, keep_BPM in others:
            others_BDM = F.normalize(others_BMD, dim=-1).transpose(1, 2)
            masked_BPM = ~keep_BPM | (target_BPD @ others_BDM > self.same_above)
            found.append(((unit_BPD @ others_BDM).flatten(0, 1), masked_BPM.flatten(0, 1)))
        return found


def _cross_entropy(logits_NK: Tensor, masked_NK: Tensor, own_N: Tensor) -> Tensor:
    """Mean over rows of the cross-entropy over ln(candidates).

    Masked after the division by the temperature, whose gradient would be 0 x inf otherwise.
    """
    candidates_N = (~masked_NK).sum(1).clamp_min(2)
    entropy_N = F.cross_entropy(logits_NK.masked_fill(masked_NK, -math.inf), own_N, reduction="none")
    return (entropy_N / candidates_N.log()).mean()
