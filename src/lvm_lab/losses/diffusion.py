"""The error of a denoiser that predicts the clean vector (x0 prediction)."""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.types import Batch, Prediction, Stats


class Diffusion(nn.Module):
    """Weighted mean over noise levels, rows and dimensions of ((denoised - target) / std)^2.

    1 for a denoiser that predicts the training part's mean at every level. Levels, noise and their weights are the
    head's: Ho et al. 2020, arXiv:2006.11239, with the clean vector predicted in the noise's place.
    """

    needs = "denoised"

    def forward(self, prediction: Prediction, batch: Batch, stats: Stats) -> Tensor:
        assert prediction.denoised_SND is not None
        assert prediction.noise_weight_SN is not None
        error_SN = ((prediction.denoised_SND - batch.target_ND) / stats.std_D).square().mean(-1)
        return (prediction.noise_weight_SN * error_SN).mean()
