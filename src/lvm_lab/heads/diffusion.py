"""The diffusion head: an MLP that denoises the next vector, told of the context by adaptive norms.

Shape suffixes: D vector dim, H hidden dim, N predictions, S draws or noise levels.
"""

from __future__ import annotations

from torch import Tensor, nn

from lvm_lab.nn.blocks import check_sizes
from lvm_lab.nn.denoising import Adaptive, DenoisingHead, LevelEmbedding, Sampling, modulate
from lvm_lab.nn.head import Mix, Predict
from lvm_lab.types import Reading, Stats


class DiffusionHead(DenoisingHead):
    """hidden (N, H) -> Prediction, by `steps` denoisings of a noise that is always the same.

    The form is the diffusion head of Li et al. 2024, arXiv:2406.11838; schedule, guidance and clean-vector
    prediction are the Large Concept Model's, arXiv:2412.08821. Trained with loss=diffusion, on standardised vectors.
    """

    def __init__(
        self,
        width: int,
        stats: Stats,
        hidden: int = 512,
        layers: int = 3,
        steps: int = 8,
        guidance: float = 1.0,
        rescale: float = 0.7,
        initial_noise: float = 0.6,
        draws: int = 1,
        noise_levels: int = 4,
        blind_rows: float = 0.15,
        snr_clamp: float | None = None,
        predict: Predict = "absolute",
        taps: int = 5,
        mix: Mix = "fixed",
    ) -> None:
        check_sizes("head", hidden=hidden, layers=layers)
        sampling = Sampling(steps, guidance, rescale, initial_noise, draws)
        super().__init__(stats, predict, taps, sampling, noise_levels, blind_rows, snr_clamp, mix, width)
        dim = len(stats.mean_D)
        self.noisy = nn.Linear(dim, hidden)
        self.seen = nn.Linear(width, hidden)
        self.level = LevelEmbedding(hidden)
        self.layers = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        self.adaptive_out = Adaptive(hidden, 2)
        self.last = nn.Linear(hidden, dim)
        self.zero_init(self.last)

    def condition(self, hidden_NH: Tensor, reading: Reading | None) -> Tensor:
        return hidden_NH

    def denoise(self, noisy_SND: Tensor, level_SN: Tensor, condition: Tensor, blind_SN: Tensor) -> Tensor:
        seen_SNH = self.seen(condition.expand(len(noisy_SND), -1, -1) * ~blind_SN[..., None])
        condition_SNH = self.level(level_SN) + seen_SNH
        state_SNH = self.noisy(noisy_SND)
        for layer in self.layers:
            state_SNH = layer(state_SNH, condition_SNH)
        clean_SND: Tensor = self.last(modulate(state_SNH, *self.adaptive_out(condition_SNH)))
        return clean_SND


class _Layer(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.adaptive = Adaptive(hidden, 3)
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, x_SNH: Tensor, condition_SNH: Tensor) -> Tensor:
        shift_SNH, scale_SNH, gate_SNH = self.adaptive(condition_SNH)
        x_SNH = x_SNH + gate_SNH * self.mlp(modulate(x_SNH, shift_SNH, scale_SNH))
        return x_SNH
