"""Plain numbers of a predictor on one part, from one prediction pass: how near, how well scaled, how much copied.

Shape suffixes: W windows of the sample, B a slice of them, L context length, D vector dim.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number, difference, means
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.diagnostics import Moments, Outputs, findings
from lvm_lab.judge.predictions import as_read, predict
from lvm_lab.judge.results import PartScores
from lvm_lab.types import Predictor, Stats

SLICE = 2048


def part_metrics(
    predictor: Predictor,
    windows: Windows,
    stats: Stats,
    *,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
) -> dict[str, Any]:
    """The numbers of these windows (sample them first), ready for JSON; means have intervals over documents.

    cos: of unit and target. mse: of raw and target, mean over D, in the encoder's units; mse_standardised:
    divided by the training part's variance of each dimension. raw_norm; target_norm. copying: cos of unit
    and the last context vector, last_margin: cos less copying. gain_over_copy, gain_over_mean: cos less that of the
    last vector itself, and of the training part's mean. The spreads of diagnostics.Outputs; alarms: its findings.
    """
    return part_metrics_and_moments(
        predictor, windows, stats, resamples=resamples, seed=seed, batch_size=batch_size, device=device
    )[0]


def part_metrics_and_moments(
    predictor: Predictor,
    windows: Windows,
    stats: Stats,
    *,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
) -> tuple[dict[str, Any], Moments | None]:
    """The same numbers with the moments of every dimension from the same pass.

    None where there is no window, or a prediction is not finite.
    """
    mean_D, std_D = (x_D.detach().cpu().numpy().astype(np.float64) for x_D in (stats.mean_D, stats.std_D))
    columns: dict[str, np.ndarray] = {}
    outputs, windows = Outputs(windows.dim), as_read(windows, predictor)
    for positions, part in windows.slices(SLICE):
        context_BLD = part.context()
        raw_BD, unit_BD = predict(predictor, part.inputs(), batch_size, device)
        target_BD = part.vectors(part.target_row_W).astype(np.float64)
        raw_BD = raw_BD.astype(np.float64)
        with np.errstate(all="ignore"):
            error_BD = np.square(raw_BD - target_BD)
            cos_B = cosines(unit_BD, target_BD)
            copying_B = cosines(unit_BD, context_BLD[:, -1])
            numbers_B = {
                "cos": cos_B,
                "mse": error_BD.mean(axis=1),
                "mse_standardised": (error_BD / np.square(std_D)).mean(axis=1),
                "raw_norm": np.linalg.norm(raw_BD, axis=1),
                "target_norm": np.linalg.norm(target_BD, axis=1),
                "copying": copying_B,
                "last_margin": cos_B - copying_B,
                "gain_over_copy": cos_B - cosines(context_BLD[:, -1], target_BD),
                "gain_over_mean": cos_B - cosines(mean_D, target_BD),
            }
            outputs.add(raw_BD, unit_BD, target_BD)
        for name, values_B in numbers_B.items():
            columns.setdefault(name, np.empty(len(windows)))[positions] = values_B
    if not columns:
        return {"windows": 0, "documents": 0, "not_finite": 0}, None
    not_finite = int((~np.isfinite(columns["cos"] + columns["mse"])).sum())
    numbers: dict[str, Any] = {
        "windows": len(windows),
        "documents": len(np.unique(windows.document_W)),
        "not_finite": not_finite,
    }
    if not_finite:
        # A mean over the windows that happen to be finite would look like a score.
        return numbers, None
    over_windows = means(columns, windows.resampled_W, resamples=resamples, seed=seed)
    numbers |= {name: number.to_dict() for name, number in over_windows.items()}
    numbers |= outputs.numbers()
    return numbers | {"alarms": findings(numbers)}, outputs.moments


def lifts(model: PartScores, baseline: PartScores) -> dict[str, Number]:
    """Every number of the model less the baseline's, paired by window sample and resample.

    Raises ValueError for scores of different windows, whose difference would say nothing.
    """
    if not np.array_equal(model.target_row_W, baseline.target_row_W):
        raise ValueError("the two scores are of different windows; judge both with one preset and part")
    mine, theirs = model.numbers(), baseline.numbers()
    return {name: difference(mine[name], theirs[name]) for name in mine.keys() & theirs.keys()}
