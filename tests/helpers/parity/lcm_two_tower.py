"""The two-tower model at its 5 + 13 layers: the contextualiser, the denoiser and the sampler against their formulas.

Sources: arXiv:2412.08821, section 2.3.3 (towers), 2212.09748 (AdaLN, embedding of the noise level), 2102.09672 (cosine
schedule), 2010.02502 (DDIM), 2305.08891 (zero terminal signal, trailing levels, rescaled guidance).

Shape suffixes: B batch, L length, P predictions of a window, N = B x P, D vector dim, H hidden dim, S noise levels or
draws, T levels of the schedule, M places that are read: the zero vector and the context's, E sinusoids.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helpers.parity._common import Gap, Row, affine, against, largest, layer_norm, rows, shaken, silu, step, swiglu
from helpers.parity.lcm_base import definition as contextualiser
from lvm_lab.archs.lcm_two_tower import LCMTwoTower
from lvm_lab.heads.two_tower import TwoTowerHead
from lvm_lab.types import Reading, Stats

DIM, WIDTH, HIDDEN, HEADS, LEVELS = 12, 16, 16, 2, 100


def backbone() -> LCMTwoTower:
    return LCMTwoTower(DIM, 5, width=WIDTH, layers=5, heads=HEADS)


def towers(dtype: torch.dtype, **options: Any) -> tuple[Any, Any]:
    stats = Stats(0.1 * torch.randn(DIM), 0.2 + 0.1 * torch.rand(DIM))
    head = TwoTowerHead(WIDTH, stats, hidden=HIDDEN, layers=13, heads=HEADS, **options)
    return shaken(backbone()).to(dtype), shaken(head, 0.1).to(dtype)


def denoiser(
    head: Any, noisy_SND: Tensor, level_SN: Tensor, context_BLH: Tensor, every: bool, blind_SN: Tensor
) -> Tensor:
    """The clean vectors in units. Layer by layer: the place itself, [0; context], SwiGLU, each between AdaLN's shift
    and scale before and gate behind."""
    zero_first_BMH = torch.cat((torch.zeros_like(context_BLH[:, :1]), context_BLH), dim=1)
    length = context_BLH.shape[1]
    asks = range(length) if every else [length - 1]
    first, _, second = head.level.project
    level_SNH = affine(silu(affine(sinusoids(level_SN).to(noisy_SND.dtype), first)), second)
    x_SNH = affine(noisy_SND, head.noisy)
    for layer in head.layers:
        shift1, scale1, gate1, shift2, scale2, gate2, shift3, scale3, gate3 = affine(
            silu(level_SNH), layer.adaptive.linear
        ).chunk(9, dim=-1)
        # The softmax over one place is 1: self-attention that sees only itself hands on its own value.
        value, out = layer.own
        x_SNH = x_SNH + gate1 * affine(affine(layer_norm(x_SNH) * (1 + scale1) + shift1, value), out)
        query_SNH = affine(layer_norm(x_SNH) * (1 + scale2) + shift2, layer.query)
        key_BMH, value_BMH = affine(zero_first_BMH, layer.key_value).chunk(2, dim=-1)
        query_SBPH = query_SNH.unflatten(1, (-1, len(asks)))
        blind_SBP = blind_SN.unflatten(1, (-1, len(asks)))
        read = [
            cross(query_SBPH[:, :, p], key_BMH[:, : t + 2], value_BMH[:, : t + 2], blind_SBP[:, :, p])
            for p, t in enumerate(asks)
        ]
        x_SNH = x_SNH + gate2 * affine(torch.stack(read, dim=2).flatten(1, 2), layer.out)
        x_SNH = x_SNH + gate3 * swiglu(layer_norm(x_SNH) * (1 + scale3) + shift3, layer.mlp)
    shift, scale = affine(silu(level_SNH), head.adaptive_out.linear).chunk(2, dim=-1)
    return affine(layer_norm(x_SNH) * (1 + scale) + shift, head.last)


def cross(query_SBH: Tensor, key_BMH: Tensor, value_BMH: Tensor, blind_SB: Tensor) -> Tensor:
    """Head by head over the places given; a blind row reads the first of them alone."""
    size = HIDDEN // HEADS
    heads = []
    for k in range(HEADS):
        part = slice(k * size, (k + 1) * size)
        score_SBM = (query_SBH[:, :, None, part] * key_BMH[..., part]).sum(-1) / size**0.5
        read_SBP = (score_SBM.softmax(-1)[..., None] * value_BMH[..., part]).sum(2)
        heads.append(torch.where(blind_SB[..., None], value_BMH[:, 0, part], read_SBP))
    return torch.cat(heads, dim=-1)


def sinusoids(level_SN: Tensor) -> Tensor:
    """256 numbers of the level on a scale of 0 to 1000, in float32: as usual, and as ours keeps them."""
    pace_E = torch.exp(-math.log(10000) * torch.arange(128) / 128)
    angle_SNE = (1000 * level_SN / LEVELS)[..., None] * pace_E
    return torch.cat((angle_SNE.cos(), angle_SNE.sin()), dim=-1)


def schedule() -> Tensor:
    """sqrt(alpha bar) of every level, float32 as ours keeps it: cos^2 with s = .008, moved to 0 at the last."""
    f = [math.cos((t / LEVELS + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(LEVELS + 1)]
    signal_T = np.sqrt(np.array(f[1:]) / f[0])
    return torch.tensor((signal_T - signal_T[-1]) * signal_T[0] / (signal_T[0] - signal_T[-1])).float()


def ddim(head: Any, context_BLH: Tensor, steps: int, guidance: float, rescale: float, initial: float) -> Tensor:
    """raw_ND of the last place: one draw by DDIM without noise of its own, the network speaking of x0."""
    alpha_bar_T = schedule().to(context_BLH.dtype).square()
    noise_SND = torch.randn(1, 1, DIM, generator=torch.Generator().manual_seed(0)).to(context_BLH.dtype)
    x_SND = initial * noise_SND.expand(1, len(context_BLH), DIM)
    trailing = (np.arange(LEVELS, 0, -LEVELS / steps).round() - 1).astype(int).tolist()
    for i, level in enumerate(trailing):
        level_SN = torch.full(x_SND.shape[:2], level)
        yes_SN = torch.ones_like(level_SN, dtype=torch.bool)
        sighted_SND = denoiser(head, x_SND, level_SN, context_BLH, False, ~yes_SN)
        blind_SND = denoiser(head, x_SND, level_SN, context_BLH, False, yes_SN)
        clean_SND = guidance * sighted_SND + (1 - guidance) * blind_SND
        if guidance != 1:
            back_SND = clean_SND * sighted_SND.std(-1, keepdim=True) / clean_SND.std(-1, keepdim=True)
            clean_SND = rescale * back_SND + (1 - rescale) * clean_SND
        if i + 1 == steps:
            break
        noise_SND = (x_SND - alpha_bar_T[level].sqrt() * clean_SND) / (1 - alpha_bar_T[level]).sqrt()
        ahead = alpha_bar_T[trailing[i + 1]]
        x_SND = ahead.sqrt() * clean_SND + (1 - ahead).sqrt() * noise_SND
    return head.normaliser.centre_D + head.normaliser.scale_D * clean_SND[0]


def denoiser_gap(length: int, dtype: torch.dtype) -> float:
    """Every place of two windows at three levels each, a quarter of the rows blind."""
    context_tower, head = towers(dtype)
    x_BLD = torch.randn(2, length, DIM, dtype=dtype)
    context_BLH = context_tower(x_BLD)
    noisy_SND = torch.randn(3, 2 * length, DIM, dtype=dtype)
    level_SN = torch.randint(LEVELS, noisy_SND.shape[:2])
    blind_SN = torch.rand(noisy_SND.shape[:2]) < 0.25
    reading = Reading(x_BLD, context_BLH, every=True)
    got_SND = head.denoise(noisy_SND, level_SN, head.condition(reading.hidden_NH, reading), blind_SN)
    return largest(got_SND, denoiser(head.double(), noisy_SND.double(), level_SN, context_BLH.double(), True, blind_SN))


def whole(guidance: float, steps: int) -> Gap:
    """Context to prediction: both towers and the sampler."""

    def gap(length: int, dtype: torch.dtype) -> float:
        options = {"steps": steps, "guidance": guidance, "rescale": 0.7, "initial_noise": 0.6}
        context_tower, head = towers(dtype, **options)
        x_BLD = torch.randn(2, length, DIM, dtype=dtype)
        reading = Reading(x_BLD, context_tower(x_BLD))
        got_ND = head(reading.hidden_NH, reading).raw_ND
        context_BLH = contextualiser(context_tower.double(), x_BLD.double())
        return largest(got_ND, ddim(head.double(), context_BLH, *options.values()))

    return gap


def comparisons() -> list[Row]:
    gaps = {
        "contextualiser, definition, 5 layers": against(backbone, contextualiser, DIM),
        "step of the contextualiser": step(backbone, DIM),
        "denoiser, definition, 13 layers": denoiser_gap,
        "both and DDIM, their formulas, 8 steps": whole(1.0, 8),
        "both and DDIM, their formulas, 40 steps, w = 3": whole(3.0, 40),
    }
    return rows("lcm_two_tower", gaps)
