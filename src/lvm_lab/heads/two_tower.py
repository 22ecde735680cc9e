"""The denoiser tower of the two-tower Large Concept Model: cross-attention to every state of the contextualiser.

Shape suffixes: B batch, L context length, P predictions of a window (1 or L), N = B x P, D vector dim, H hidden dim,
K heads, S draws or noise levels, M = L + 1 places that are read: the zero vector and the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvm_lab.nn.blocks import GatedMLP, check_divides, check_sizes
from lvm_lab.nn.denoising import Adaptive, DenoisingHead, LevelEmbedding, Sampling, modulate
from lvm_lab.nn.head import Mix, Predict
from lvm_lab.types import Reading, Stats


@dataclass(frozen=True)
class Memory:
    """Keys and values of each layer, K x B x M, and which of the places each prediction may read, P x M."""

    keys_values: list[tuple[Tensor, Tensor]]
    open_PM: Tensor


class TwoTowerHead(DenoisingHead):
    """(hidden, reading) -> Prediction: LCM's denoiser, arXiv:2412.08821, section 2.3.3; trained with loss=diffusion.

    A layer has self-attention that sees only its own place, hence two linear maps; cross-attention to [0; context],
    of which the prediction after place t reads the zero vector and the places up to t; and a SwiGLU layer. The noise
    level gives each of the three its shift, scale and gate, all zero at first. LCM has 13 layers of width 2048.
    """

    reads_every_state = True

    def __init__(
        self,
        width: int,
        stats: Stats,
        hidden: int = 256,
        layers: int = 3,
        heads: int = 4,
        ff_mult: float = 2.0,
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
        inner = round(ff_mult * hidden)
        check_sizes("head", hidden=hidden, layers=layers, heads=heads, **{"ff_mult * hidden": inner})
        check_divides("head", "heads", heads, "hidden", hidden)
        sampling = Sampling(steps, guidance, rescale, initial_noise, draws)
        super().__init__(stats, predict, taps, sampling, noise_levels, blind_rows, snr_clamp, mix, width)
        dim = len(stats.mean_D)
        self.noisy = nn.Linear(dim, hidden)
        self.level = LevelEmbedding(hidden)
        self.layers: Any = nn.ModuleList(_Layer(width, hidden, heads, inner) for _ in range(layers))
        self.adaptive_out = Adaptive(hidden, 2)
        self.last = nn.Linear(hidden, dim)
        self.zero_init(self.last)

    def condition(self, hidden_NH: Tensor, reading: Reading | None) -> Memory:
        if reading is None:
            raise ValueError("head=two_tower reads all states of the context; pass the reading to the head too")
        memory_BMH = F.pad(reading.hidden_BLH, (0, 0, 1, 0))
        places = memory_BMH.shape[1]
        open_PM = torch.ones(places - 1, places, dtype=torch.bool, device=memory_BMH.device).tril(1)
        return Memory(
            [layer.keys_values(memory_BMH) for layer in self.layers], open_PM if reading.every else open_PM[-1:]
        )

    def denoise(self, noisy_SND: Tensor, level_SN: Tensor, condition: Memory, blind_SN: Tensor) -> Tensor:
        predictions, places = condition.open_PM.shape
        zero_M = torch.arange(places, device=blind_SN.device) == 0
        open_SBPM = condition.open_PM & (zero_M | ~blind_SN.unflatten(1, (-1, predictions))[..., None])
        level_SNH = self.level(level_SN)
        state_SNH = self.noisy(noisy_SND)
        for layer, key_value in zip(self.layers, condition.keys_values, strict=True):
            state_SNH = layer(state_SNH, level_SNH, key_value, open_SBPM)
        clean_SND: Tensor = self.last(modulate(state_SNH, *self.adaptive_out(level_SNH)))
        return clean_SND


class _Layer(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.adaptive = Adaptive(hidden, 9)
        self.own = nn.Sequential(nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden))
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.mlp = GatedMLP(hidden, inner)

    def keys_values(self, memory_BMH: Tensor) -> tuple[Tensor, Tensor]:
        key_BKMP, value_BKMP = (self._split(x_BMH) for x_BMH in self.key_value(memory_BMH).chunk(2, dim=-1))
        return key_BKMP, value_BKMP

    def forward(self, x_SNH: Tensor, level_SNH: Tensor, key_value: tuple[Tensor, Tensor], open_SBPM: Tensor) -> Tensor:
        shifts = self.adaptive(level_SNH)
        x_SNH = x_SNH + shifts[2] * self.own(modulate(x_SNH, *shifts[:2]))
        x_SNH = x_SNH + shifts[5] * self._read(modulate(x_SNH, *shifts[3:5]), key_value, open_SBPM)
        x_SNH = x_SNH + shifts[8] * self.mlp(modulate(x_SNH, *shifts[6:8]))
        return x_SNH

    def _read(self, x_SNH: Tensor, key_value: tuple[Tensor, Tensor], open_SBPM: Tensor) -> Tensor:
        several, rows, predictions = open_SBPM.shape[:3]
        # All levels of a window are queries of the same keys.
        query_BTH = self.query(x_SNH).unflatten(1, (rows, predictions)).transpose(0, 1).flatten(1, 2)
        open_B1TM = open_SBPM.transpose(0, 1).flatten(1, 2)[:, None]
        attention_BKTP = F.scaled_dot_product_attention(self._split(query_BTH), *key_value, attn_mask=open_B1TM)
        attention_BTH = attention_BKTP.transpose(1, 2).flatten(2)
        attention_SNH = attention_BTH.unflatten(1, (several, predictions)).transpose(0, 1).flatten(1, 2)
        out_SNH: Tensor = self.out(attention_SNH)
        return out_SNH

    def _split(self, x_BTH: Tensor) -> Tensor:
        return x_BTH.unflatten(-1, (self.heads, -1)).transpose(1, 2)
