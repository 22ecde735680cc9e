"""What the diffusion heads share: the noise schedule, what they learn from, and the guided DDIM sampler.

Shape suffixes: D vector dim, H hidden dim, N predictions, S draws or noise levels, T levels of the schedule.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.errors import UserError
from lvm_lab.nn.head import Head, Mix, Predict
from lvm_lab.nn.noise import Draws, normal, uniform
from lvm_lab.types import Prediction, Reading, Stats

LEVELS = 100
EMBEDDING = 256


def cosine_signal(levels: int = LEVELS, s: float = 0.008) -> Tensor:
    """signal_T: what is left of the clean vector at each level; the noise beside it is sqrt(1 - signal^2).

    The cosine schedule of Nichol and Dhariwal 2021, arXiv:2102.09672, brought to a signal of exactly zero at the
    last level as by Lin et al. 2023, arXiv:2305.08891, algorithm 1, so that sampling begins where training ended.
    """
    time_T = torch.arange(1, levels + 1, dtype=torch.float64) / levels
    signal_T = torch.cos((time_T + s) / (1 + s) * math.pi / 2) / math.cos(s / (1 + s) * math.pi / 2)
    first, last = signal_T[0], signal_T[-1]
    return ((signal_T - last) * first / (first - last)).float()


def trailing(levels: int, steps: int) -> list[int]:
    """The levels that `steps` sampling steps visit, from the last one down (Lin et al. 2023, table 2)."""
    return [round(levels - i * levels / steps) - 1 for i in range(steps)]


@dataclass(frozen=True)
class Sampling:
    """DDIM (Song et al. 2021, arXiv:2010.02502) with classifier-free guidance (Ho and Salimans 2022).

    steps: denoisings a draw. guidance: 1 is the conditional answer, more leads away from the unconditional one.
    rescale: share of the guided answer that is brought back to the conditional one's spread (Lin et al. 2023).
    initial_noise: the spread of what sampling begins with. draws: whose mean is the prediction.
    """

    steps: int
    guidance: float
    rescale: float
    initial_noise: float
    draws: int

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= LEVELS:
            raise UserError(f"head.steps={self.steps} does not fit; set it from 1 to {LEVELS}.")
        if self.draws < 1:
            raise UserError(f"head.draws={self.draws} does not fit; set it to 1 or more.")
        if self.guidance < 0 or not 0 <= self.rescale <= 1 or self.initial_noise < 0:
            raise UserError(
                "head.guidance and head.initial_noise are 0 or more and head.rescale lies from 0 to 1; set them so."
            )


class DenoisingHead(Head):
    """A head that denoises: from a noisy standardised vector and the context to the clean one. All but the network.

    noise_levels: levels a row that one training step looks at. blind_rows: share of rows that learn the
    unconditional answer, seeing a zero vector only. snr_clamp: null weighs all levels alike, a number c weighs
    them by signal^2 / noise^2 clamped to [1/c, c].
    """

    feeds = frozenset({"denoised"})
    generative = True
    noise_S1D: Tensor
    signal_T: Tensor
    weight_T: Tensor

    def __init__(
        self,
        stats: Stats,
        predict: Predict,
        taps: int,
        sampling: Sampling,
        noise_levels: int,
        blind_rows: float,
        snr_clamp: float | None,
        mix: Mix = "fixed",
        width: int | None = None,
    ) -> None:
        super().__init__(stats, predict, taps, mix, width)
        if noise_levels < 1 or not 0 <= blind_rows < 1 or (snr_clamp is not None and snr_clamp < 1):
            raise UserError(
                "head.noise_levels is 1 or more, head.blind_rows from 0 to below 1, head.snr_clamp null or 1 or more; "
                "set them so."
            )
        self.sampling, self.noise_levels, self.blind_rows = sampling, noise_levels, blind_rows
        signal_T = cosine_signal()
        weight_T = torch.ones(LEVELS)
        if snr_clamp is not None:
            weight_T = (signal_T.square() / (1 - signal_T.square())).clamp(1 / snr_clamp, snr_clamp)
        # One noise for all rows: a prediction is a function of the context, wherever in a batch that stands.
        noise_S1D = normal(sampling.draws, 1, len(stats.mean_D), like=signal_T, training=False)
        self.register_buffer("noise_S1D", noise_S1D, persistent=False)
        self.register_buffer("signal_T", signal_T, persistent=False)
        self.register_buffer("weight_T", weight_T / weight_T.mean(), persistent=False)

    @abstractmethod
    def condition(self, hidden_NH: Tensor, reading: Reading | None) -> Any:
        """What the denoiser knows of the context, computed once for all steps."""

    @abstractmethod
    def denoise(self, noisy_SND: Tensor, level_SN: Tensor, condition: Any, blind_SN: Tensor) -> Tensor:
        """The clean standardised vectors; `blind` rows see the zero vector instead of the context."""

    def learn(self, hidden_NH: Tensor, target_ND: Tensor, reading: Reading) -> Prediction:
        shape = (self.noise_levels, len(target_ND))
        level_SN = (uniform(*shape, like=target_ND, training=self.training) * LEVELS).long()
        noise_SND = normal(*shape, target_ND.shape[1], like=target_ND, training=self.training)
        blind_SN = torch.zeros_like(level_SN, dtype=torch.bool)
        if self.training:
            blind_SN = torch.rand(shape, device=target_ND.device) < self.blind_rows
        base_ND = self.base(reading)
        noisy_SND = self._add_noise(self.normaliser.scale(target_ND - base_ND), noise_SND, level_SN[..., None])
        clean_SND = self.denoise(noisy_SND, level_SN, self.condition(hidden_NH, reading), blind_SN)
        denoised_SND = base_ND + self.normaliser.unscale(clean_SND)
        mean_ND = denoised_SND.mean(0)
        return Prediction(
            mean_ND, F.normalize(mean_ND, dim=-1), denoised_SND=denoised_SND, noise_weight_SN=self.weight_T[level_SN]
        )

    def forward(self, hidden_NH: Tensor, reading: Reading | None = None) -> Prediction:
        # Not `len`, which an exporter takes for a batch of fixed size.
        noise_SND = self.noise_S1D.to(hidden_NH).expand(-1, hidden_NH.shape[0], -1)
        return self._denoised(noise_SND, hidden_NH, reading)

    def draw(self, hidden_NH: Tensor, reading: Reading, draws: Draws) -> Prediction:
        noise_SND = draws.normal(draws.count, len(hidden_NH), len(self.normaliser.centre_D), like=hidden_NH)
        return self._denoised(noise_SND, hidden_NH, reading)

    def _denoised(self, noise_SND: Tensor, hidden_NH: Tensor, reading: Reading | None) -> Prediction:
        condition = self.condition(hidden_NH, reading)
        noisy_SND = self.sampling.initial_noise * noise_SND
        levels = trailing(LEVELS, self.sampling.steps)
        for level, following in zip(levels, [*levels[1:], None], strict=True):
            clean_SND = self._guided(noisy_SND, level, condition)
            if following is None:
                noisy_SND = clean_SND
            else:
                signal = self.signal_T[level]
                noise_SND = (noisy_SND - signal * clean_SND) / (1 - signal.square()).sqrt()
                noisy_SND = self._add_noise(clean_SND, noise_SND, torch.tensor(following, device=signal.device))
        return Prediction.from_raw(self.base(reading) + self.normaliser.unscale(noisy_SND.mean(0)))

    def _add_noise(self, clean_SND: Tensor, noise_SND: Tensor, level: Tensor) -> Tensor:
        signal = self.signal_T[level]
        return (signal * clean_SND + (1 - signal.square()).sqrt() * noise_SND).to(clean_SND.dtype)

    def _guided(self, noisy_SND: Tensor, level: int, condition: Any) -> Tensor:
        level_SN = torch.full(noisy_SND.shape[:2], level, device=noisy_SND.device)
        open_SN = torch.zeros_like(level_SN, dtype=torch.bool)
        if self.sampling.guidance == 1:
            return self.denoise(noisy_SND, level_SN, condition, open_SN)
        both_SN = torch.cat([open_SN, ~open_SN])
        answers = self.denoise(noisy_SND.repeat(2, 1, 1), level_SN.repeat(2, 1), condition, both_SN)
        sighted_SND, blind_SND = answers.chunk(2)
        guided_SND = blind_SND + self.sampling.guidance * (sighted_SND - blind_SND)
        spread_SN1 = sighted_SND.std(-1, keepdim=True) / guided_SND.std(-1, keepdim=True).clamp_min(1e-6)
        return guided_SND * (self.sampling.rescale * spread_SN1 + 1 - self.sampling.rescale)


class LevelEmbedding(nn.Module):
    """level (...) -> (..., H): sinusoids of 256 numbers, Linear, SiLU, Linear."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(EMBEDDING, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        place = torch.arange(EMBEDDING // 2) / (EMBEDDING // 2)
        # Levels are spread over 0 to 1000, for which the sinusoids' paces are meant.
        angle = torch.arange(LEVELS)[:, None] * (1000 / LEVELS) * torch.exp(-math.log(10_000) * place)
        self.register_buffer("table", torch.cat([angle.cos(), angle.sin()], -1), persistent=False)

    def forward(self, level_SN: Tensor) -> Tensor:
        table: Tensor = self.table  # type: ignore[assignment]
        embedded_SNH: Tensor = self.project(table[level_SN])
        return embedded_SNH


class Adaptive(nn.Module):
    """AdaLN-zero (Peebles and Xie 2023, arXiv:2212.09748): `count` numbers a channel of a condition, 0 at first."""

    def __init__(self, hidden: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(hidden, count * hidden)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition_H: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(condition_H)).chunk(self.count, dim=-1)


def modulate(x_H: Tensor, shift_H: Tensor, scale_H: Tensor) -> Tensor:
    """A layer norm whose gain and bias come from the condition."""
    return F.layer_norm(x_H, x_H.shape[-1:]) * (1 + scale_H) + shift_H
