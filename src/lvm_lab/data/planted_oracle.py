"""The planted world's oracle: the best predictor that knows the world's rule and sees the context alone.

Shape suffixes: B batch, L context length, D vector dim, J planes, T topic dims, S speeds on the oracle's grid.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.types import Prediction


class Oracle:
    """The best guess from the context alone: knows the rule and the basis, infers phases, speed and topic.

    For every speed on a grid the context's planes are turned back to one moment and averaged; how
    well they agree weighs the speeds (a Bayesian average under the world's mean noise), and the
    average turned one step on is the prediction. The posterior mean of a phase shrinks its plane
    by I1(k) / I0(k), k being the strength of the evidence.
    """

    def __init__(self, world: PlantedWorld, device: str | torch.device = "cpu") -> None:
        basis = torch.as_tensor(world.basis(), dtype=torch.float32, device=device)
        self.cos_JD, self.sin_JD = basis[: world.planes], basis[world.planes : 2 * world.planes]
        self.topic_TD = basis[2 * world.planes :]
        self.angles_J = torch.as_tensor(world.angles_J(), dtype=torch.float32, device=device)
        grid = np.union1d(np.linspace(min(world.speeds), max(world.speeds), 15), [*world.speeds, world.ood_speed])
        self.speeds_S = torch.as_tensor(grid, dtype=torch.float32, device=device)
        noise = (world.noise_low + world.noise_high) / 2
        self.noise_variance = noise**2 / world.dim
        # A chunk is divided by its length; undoing that on average puts the evidence in the rule's own units.
        self.length = float(np.sqrt(1 + world.topic_norm**2 + noise**2))
        self.amplitude = 1 / np.sqrt(world.planes)

    @torch.inference_mode()
    def __call__(self, context_BLD: Tensor) -> Prediction:
        x_BLD = context_BLD.to(self.cos_JD) * self.length
        steps = x_BLD.shape[1]
        planes_BLJ = torch.complex(x_BLD @ self.cos_JD.T, x_BLD @ self.sin_JD.T)
        past_L = torch.arange(steps, device=x_BLD.device) - steps
        angle_SLJ = self.speeds_S[:, None, None] * past_L[None, :, None] * self.angles_J
        next_BSJ = torch.einsum("blj,slj->bsj", planes_BLJ, torch.polar(torch.ones_like(angle_SLJ), -angle_SLJ))
        evidence_BSJ = next_BSJ.abs() * self.amplitude / self.noise_variance
        log_i0 = torch.log(torch.special.i0e(evidence_BSJ)) + evidence_BSJ
        weight_BS = torch.softmax(log_i0.sum(-1), dim=1)
        shrinkage_BSJ = torch.special.i1e(evidence_BSJ) / torch.special.i0e(evidence_BSJ)
        phase_BSJ = next_BSJ / next_BSJ.abs().clamp_min(1e-12)
        expected_BJ = (weight_BS[..., None] * shrinkage_BSJ * phase_BSJ).sum(1) * self.amplitude
        topic_BD = (x_BLD.mean(1) @ self.topic_TD.T) @ self.topic_TD
        raw_BD = expected_BJ.real @ self.cos_JD + expected_BJ.imag @ self.sin_JD + topic_BD
        return Prediction.from_raw(raw_BD / self.length)
