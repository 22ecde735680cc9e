"""Ridge: the best linear map of the whole context.

Shape suffixes: B batch, L context length, D vector dim, N windows, T vectors that the map reads, F = T x D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lvm_lab.config.data import FEWEST_READ
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.files import write_arrays
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines._fitting import SLICE, load_arrays, training_sample
from lvm_lab.judge.cosines import cosines
from lvm_lab.types import Prediction

RIDGE_VAL_WINDOWS = 2_000
# Times the mean of the features' variance.
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Ridge(Baseline):
    """Linear regression of the target on the flattened context, with an L2 penalty on all but the bias.

    It reads the context_length vectors of windows that all have so many. Where training windows read different numbers
    of vectors it reads the last five: the equations of a context of 64 would not fit into memory, and most of their
    features would be missing. Vectors before the first count as zeros, as the linear metric counts them, in the fit
    too.
    """

    name = "ridge"
    fit_version = 1

    weight_FD: Tensor
    bias_D: Tensor
    penalty: float

    @classmethod
    def fit(cls, data: FitData, seed: int = 0, penalties: Sequence[float] = PENALTIES) -> Self:
        ridge = fit_ridge(data.train, data.val, seed, penalties)
        return cls(ridge.weight_FD, ridge.bias_D, ridge.penalty)

    def __call__(self, context_BLD: Tensor) -> Prediction:
        weight_FD, bias_D = self.weight_FD.to(context_BLD), self.bias_D.to(context_BLD)
        taps = len(weight_FD) // len(bias_D)
        context_BLD = context_BLD[:, -taps:]
        if missing := taps - context_BLD.shape[1]:
            context_BLD = F.pad(context_BLD, (0, 0, missing, 0))
        return Prediction.from_raw(context_BLD.flatten(1) @ weight_FD + bias_D)

    def save(self, path: Path) -> None:
        """Whole or not at all, so that a cache never holds half a fit."""
        weight_FD, bias_D = self.weight_FD.cpu().numpy(), self.bias_D.cpu().numpy()
        write_arrays(path, weight_FD=weight_FD, bias_D=bias_D, penalty=np.array(self.penalty, dtype=np.float64))

    @classmethod
    def load(cls, path: Path) -> Self:
        saved = load_arrays(path, "ridge", "weight_FD", "bias_D", "penalty")
        weight_FD, bias_D = torch.from_numpy(saved["weight_FD"]), torch.from_numpy(saved["bias_D"])
        return cls(weight_FD, bias_D, float(saved["penalty"]))


def fit_ridge(train: Windows, val: Windows, seed: int = 0, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """Fitted on at most 20,000 training windows; the penalty is the one with the best mean cosine on VAL windows.

    Raises UserError where either part is empty, or the vectors are too long for its equations.
    """
    if len(val) == 0:
        raise UserError("the ridge baseline needs validation windows; bring longer documents.")
    train = training_sample(train, "ridge baseline", seed)
    val = sample_evenly(val, RIDGE_VAL_WINDOWS, seed)
    target_ND = train.vectors(train.target_row_W)
    mean_D = target_ND.mean(axis=0, dtype=np.float64)
    taps = train.context_length
    if (train.length_W < taps).any():
        taps = min(FEWEST_READ, taps)
    mean_F = _mean_features(train, taps)
    solve = _primal if len(train) >= len(mean_F) else _dual
    context_BTD, target_BD = val.padded_context(taps), val.vectors(val.target_row_W)
    best, best_cos = None, -np.inf
    target_ND -= mean_D.astype(np.float32)
    for penalty, weight_FD in solve(train, mean_F, target_ND, penalties):
        bias_D = torch.from_numpy(mean_D) - torch.from_numpy(mean_F) @ weight_FD
        ridge = Ridge(weight_FD.float(), bias_D.float(), penalty)
        with torch.inference_mode():
            cos = float(cosines(ridge(torch.from_numpy(context_BTD)).unit_ND.numpy(), target_BD).mean())
        if cos > best_cos:
            best, best_cos = ridge, cos
    assert best is not None
    return best


def _features(windows: Windows, start: int, mean_F: np.ndarray) -> Tensor:
    """Centred features of one slice, in float32."""
    context_BTD = windows.padded_context(len(mean_F) // windows.dim, slice(start, start + SLICE))
    x_BF = context_BTD.reshape(len(context_BTD), -1)
    return torch.from_numpy(np.subtract(x_BF, mean_F, out=x_BF, casting="same_kind"))


def _mean_features(windows: Windows, taps: int) -> np.ndarray:
    total = np.zeros(taps * windows.dim)
    for start in range(0, len(windows), SLICE):
        context_BTD = windows.padded_context(taps, slice(start, start + SLICE))
        total += context_BTD.reshape(len(context_BTD), -1).sum(axis=0, dtype=np.float64)
    return total / len(windows)


def _primal(
    train: Windows, mean_F: np.ndarray, target_ND: np.ndarray, penalties: Sequence[float]
) -> Iterator[tuple[float, Tensor]]:
    """(X'X + penalty) W = X'Y: for at least as many windows as features. Slices in float32, sums in float64."""
    gram_FF = torch.zeros(len(mean_F), len(mean_F), dtype=torch.float64)
    cross_FD = torch.zeros(len(mean_F), target_ND.shape[1], dtype=torch.float64)
    for start in range(0, len(train), SLICE):
        x_BF = _features(train, start, mean_F)
        gram_FF += x_BF.T @ x_BF
        cross_FD += x_BF.T @ torch.from_numpy(target_ND[start : start + SLICE])
        del x_BF
    yield from _each_penalty(gram_FF, cross_FD, float(gram_FF.trace()) / len(mean_F), penalties)


def _dual(
    train: Windows, mean_F: np.ndarray, target_ND: np.ndarray, penalties: Sequence[float]
) -> Iterator[tuple[float, Tensor]]:
    """W = X' (XX' + penalty)^-1 Y: for fewer windows than features."""
    x_NF = torch.cat([_features(train, start, mean_F) for start in range(0, len(train), SLICE)]).double()
    kernel_NN = x_NF @ x_NF.T
    target = torch.from_numpy(target_ND).double()
    unit = float(kernel_NN.trace()) / len(mean_F)
    for penalty, solved_ND in _each_penalty(kernel_NN, target, unit, penalties):
        yield penalty, x_NF.T @ solved_ND


def _each_penalty(
    gram: Tensor, right: Tensor, unit: float, penalties: Sequence[float]
) -> Iterator[tuple[float, Tensor]]:
    """Solves with every penalty, a multiple of `unit`, in turn. Works in `gram` itself: a copy would be the most
    memory that a run takes."""
    before = 0.0
    for penalty in penalties:
        # The floor holds where all features are constant and the penalty, a share of their variance, is 0.
        load = max(penalty * unit, 1e-12)
        gram.diagonal().add_(load - before)
        before = load
        try:
            factor = torch.linalg.cholesky(gram)
        except torch.linalg.LinAlgError as error:
            raise UserError(
                "the ridge baseline's equations have no solution; look for vectors that are not finite or far too long."
            ) from error
        # As cholesky_solve does, which copies the factor first.
        half = torch.linalg.solve_triangular(factor, right, upper=False)
        solved = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        # As large as `gram`: the next one is made before these names are bound anew.
        del factor, half
        yield penalty, solved
