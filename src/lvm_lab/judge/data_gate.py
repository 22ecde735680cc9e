"""The data gate: whether a corpus's windows can be predicted forwards, and run the way the held-out ones do.

Shape suffixes: B windows, L context length, D vector dim.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lvm_lab.config.thresholds import DATA_COHERENCE, DATA_SIGNAL
from lvm_lab.data.windows import Windows, of_one_length, sample_evenly
from lvm_lab.judge.arrow import FIT_WINDOWS, SCORED_WINDOWS, arrow_of_time
from lvm_lab.judge.bootstrap import LEVEL, means

BACKWARDS = "the training documents run backwards beside the validation documents"


def examine(train: Windows, held_out: Windows, *, scale: int = 1, seed: int = 0) -> dict[str, Any]:
    """The data gate of the training part, with the arrow of time between it and the held-out one.

    An arrow that points backwards fails the gate; an undecided one does not. scale: how many times the arrow's
    usual windows it may look at.
    """
    gate = data_gate(train, seed=seed)
    arrow = arrow_of_time(
        train, held_out, fit_windows=scale * FIT_WINDOWS, scored_windows=scale * SCORED_WINDOWS, seed=seed
    )
    failed = gate["failed"] + ([BACKWARDS] if arrow.verdict == "backwards" else [])
    return gate | {"passed": not failed, "failed": failed, "arrow": arrow.to_dict()}


def data_gate(windows: Windows, at_most: int = 2_000, seed: int = 0) -> dict[str, Any]:
    """coherence (mean cosine of adjacent context vectors), signal (cos(last, target) - cos(first, target)),
    the position curve, and which of the three conditions fail.

    The curve falls where a step's interval over documents is below 0, at a level that makes up for the number of steps
    (Bonferroni).

    The curve alone calls a corpus read backwards correct: `examine` asks for more. Of windows that read different
    numbers of vectors it looks at the last five (`of_one_length`).
    """
    sample = sample_evenly(of_one_length(windows)[0], at_most, seed)
    context_BLD = _unit(sample.context())
    target_BD = _unit(sample.vectors(sample.target_row_W))
    cos_BL = np.einsum("bld,bd->bl", context_BLD, target_BD)
    curve_L = cos_BL.mean(axis=0)
    coherence = (context_BLD[:, 1:] * context_BLD[:, :-1]).sum(-1).mean() if sample.context_length > 1 else np.nan
    signal = curve_L[-1] - curve_L[0]
    failed = []
    if not coherence >= DATA_COHERENCE:
        failed.append(f"coherence {coherence:.3f} is below {DATA_COHERENCE}")
    if not signal >= DATA_SIGNAL:
        failed.append(f"signal {signal:+.3f} is below {DATA_SIGNAL:+.2f}")
    steps = means({str(k): step_B for k, step_B in enumerate(np.diff(cos_BL).T)}, sample.document_W, seed=seed)
    if any(step.interval(1 - (1 - LEVEL) / len(steps))[1] < 0 for step in steps.values()):
        failed.append("the position curve is not monotone")
    return {
        "passed": not failed,
        "coherence": float(coherence) if np.isfinite(coherence) else None,
        "signal": float(signal),
        "curve": [round(float(c), 4) for c in curve_L],
        "failed": failed,
        "windows": len(sample),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
