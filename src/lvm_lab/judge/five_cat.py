"""5CAT, the 5-to-1 causal alignment test: whether a predictor knows what comes next, and in which order.

One seeded sample serves all gates and streams through in slices, each of contexts of one length, of which only numbers
a window stay.

Shape suffixes: W windows of a part's sample, B a slice of them, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge import lnsp_compat
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gate import Slice
from lvm_lab.judge.gates import load as load_gates
from lvm_lab.judge.predictions import Forward, as_read
from lvm_lab.judge.results import FiveCat, PartScores
from lvm_lab.judge.verdict import Measurements, put_together, score_part
from lvm_lab.types import Predictor

SLICE = 2048


def measure(
    predictor: Predictor,
    val: Windows,
    ood: Windows | None,
    preset: Preset,
    *,
    at_most: int | None = None,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
) -> FiveCat:
    """Every gate of the preset on at most `at_most` windows a part (None: the preset's eval_windows)."""
    count = preset.eval_windows if at_most is None else at_most
    parts = [
        None
        if windows is None
        else measure_part(predictor, windows, preset, name, at_most=count, batch_size=batch_size, device=device)
        for name, windows in (("val", val), ("ood", ood))
    ]
    assert parts[0] is not None
    return put_together(preset, parts[0], parts[1])


def measure_part(
    predictor: Predictor,
    windows: Windows,
    preset: Preset,
    part: str = "val",
    *,
    at_most: int | None = None,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
) -> PartScores:
    """One part's halves on at most `at_most` windows (None: the preset's max_windows, as in training)."""
    count = preset.max_windows if at_most is None else at_most
    forward, windows = Forward(predictor, batch_size, device), as_read(windows, predictor)
    tools: dict[str, Callable[..., Measurements]] = {"five_cat": measurements, "lnsp_compat": lnsp_compat.measurements}
    return score_part(tools[preset.tool](forward, windows, preset, count), preset, part)


def measurements(forward: Forward, windows: Windows, preset: Preset, at_most: int) -> Measurements:
    """Every gate's numbers for every window of the sample: at most 14 forwards a window at H = 5, and 15 where the
    context is longer than five vectors."""
    gates = load_gates(preset)
    sample = sample_evenly(windows, at_most, preset.seed)
    draws = {gate.letter: gate.draw(sample, preset.seed) for gate in gates}
    columns: dict[str, dict[str, np.ndarray]] = {gate.letter: {} for gate in gates}
    for positions, windows_B in [*sample.slices(SLICE)] or [(np.arange(0), sample)]:
        part = predicted(forward, windows_B, preset, sample.context_length)
        for gate in gates:
            share = {name: x_W[positions] for name, x_W in draws[gate.letter].items()}
            for name, values_B in gate.measure(part, share).items():
                column_W = columns[gate.letter].setdefault(name, np.full(len(sample), np.nan))
                column_W[positions] = values_B
    return Measurements(
        gates, columns, sample.resampled_W, sample.target_row_W, len(forward.not_finite), sample.isolated
    )


def predicted(forward: Forward, windows: Windows, preset: Preset, longest: int) -> Slice:
    """The windows with their predictions: one forward a window, whatever number of gates look at it.

    longest: as in `Slice`.
    """
    context_BLD = windows.inputs()
    raw_BD, unit_BD = forward(context_BLD, windows.target_row_W)
    cos_B = cosines(unit_BD, windows.vectors(windows.target_row_W))
    return Slice(windows, context_BLD, raw_BD, unit_BD, cos_B, forward, preset, longest)
