"""5CAT, the 5-to-1 causal alignment test: whether a predictor knows what comes next, and in which order.

One seeded sample serves all gates and streams through in slices, of which only numbers a window stay.

Shape suffixes: W windows of a part's sample, B a slice of them, L context length, D vector dim.
"""

from __future__ import annotations

import numpy as np
import torch

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge import lnsp_compat
from lvm_lab.judge.gates.ablations import derangements, foreign_partners, order_changes
from lvm_lab.judge.gates.coherence import coherence, coherence_bins
from lvm_lab.judge.gates.offsets import offset_cosines
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.gates.rollout import rollout_cosines
from lvm_lab.judge.predictions import Forward, cosines
from lvm_lab.judge.results import FiveCat, PartScores
from lvm_lab.judge.verdict import Table, put_together, score_part
from lvm_lab.types import Predictor

SLICE = 2048


def measure(
    predictor: Predictor,
    val: Windows,
    ood: Windows | None,
    preset: Preset,
    *,
    at_most: int | None = None,
    documents: int | None = None,
    batch_size: int = 1024,
    device: str | torch.device = "cpu",
) -> FiveCat:
    """All five gates on at most `at_most` windows a part (None: the preset's eval_windows).

    documents: how many the whole store has, which decides whether a verdict may be given at all.
    """
    count = preset.eval_windows if at_most is None else at_most
    parts = [
        None
        if windows is None
        else measure_part(predictor, windows, preset, name, at_most=count, batch_size=batch_size, device=device)
        for name, windows in (("val", val), ("ood", ood))
    ]
    assert parts[0] is not None
    return put_together(preset, parts[0], parts[1], documents)


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
    forward = Forward(predictor, batch_size, device)
    tabulate_ = lnsp_compat.tabulate if preset.tool == "lnsp_compat" else tabulate
    return score_part(tabulate_(forward, windows, preset, count), preset, part)


def tabulate(forward: Forward, windows: Windows, preset: Preset, at_most: int) -> Table:
    """Every gate's numbers for every window of the sample: 14 forwards a window at L = H = 5."""
    sample = sample_evenly(windows, at_most, preset.seed)
    length = sample.context_length
    shuffled_WL = derangements(len(sample), length, preset.seed) if length > 1 else None
    partner_W = foreign_partners(sample.document_W, preset.seed)
    foreign_row_W = None if partner_W is None else sample.rows(0)[partner_W]
    pieces = []
    for start in range(0, max(len(sample), 1), SLICE):
        chosen = slice(start, start + SLICE)
        part = sample.select(chosen)  # type: ignore[arg-type]
        pieces.append(
            _slice(
                forward,
                part,
                preset.rollout_steps,
                None if shuffled_WL is None else shuffled_WL[chosen],
                None if foreign_row_W is None else foreign_row_W[chosen],
            )
        )
    columns = {
        gate: {name: np.concatenate([piece[gate][name] for piece in pieces]) for name in pieces[0][gate]}
        for gate in pieces[0]
    }
    return Table(
        columns, sample.document_W, sample.target_row_W, len(forward.broken), sample.isolated, sample.context_length
    )


def _slice(
    forward: Forward,
    windows: Windows,
    steps: int,
    shuffled_BL: np.ndarray | None,
    foreign_row_B: np.ndarray | None,
) -> dict[str, dict[str, np.ndarray]]:
    context_BLD = windows.context()
    raw_BD, unit_BD = forward(context_BLD, windows.target_row_W)
    cos_B = cosines(unit_BD, windows.vectors(windows.target_row_W))
    return {
        "A": offset_cosines(unit_BD, windows),
        "B": retrieval_scores(unit_BD, windows),
        "C": order_changes(forward, context_BLD, cos_B, windows, shuffled_BL, foreign_row_B),
        "D": rollout_cosines(forward, context_BLD, raw_BD, unit_BD, windows, steps),
        "E": coherence_bins(cos_B, coherence(context_BLD)),
    }
