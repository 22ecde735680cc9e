"""Gate D: whether predictions that are fed back stay with the document.

Shape suffixes: B windows, L context length, D vector dim, H steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gate import Gate, Predict, Slice


class Rollout(Gate):
    """Mean cos(h-th prediction fed back, vector at offset +h) over five_cat.rollout_steps steps."""

    letter = "D"
    name = "rollout"
    at_least = ("rollout",)
    lead = "rollout"
    lacks = "no window has so many true next vectors"
    needs_neighbours = True

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return rollout_cosines(
            part.predict,
            part.context_BLD,
            part.raw_BD,
            part.unit_BD,
            part.windows,
            part.preset.rollout_steps,
            longest=part.longest,
        )


def rollout_cosines(
    predict: Predict,
    context_BLD: np.ndarray,
    raw_BD: np.ndarray,
    unit_BD: np.ndarray,
    windows: Windows,
    steps: int,
    shift: int = 0,
    *,
    longest: int,
) -> dict[str, np.ndarray]:
    """cos(h-th prediction, vector at offset h + shift) by name `h1` to `h<steps>`, and their mean `rollout`.

    raw_BD, unit_BD: the first predictions. What is fed back is the vector as the encoder would give it: unit where its
    vectors have unit length, else raw. A context grows until it has `longest` vectors, as one that reads on in the
    document does, and slides from then on. NaN where the stretch has not so many true next vectors.
    """
    cos_BH = np.full((len(windows), steps), np.nan)
    whole = np.array([], dtype=np.int64) if windows.isolated else np.flatnonzero(windows.has(1, steps + shift))
    eligible = windows.select(whole)
    context_BLD, raw_BD, unit_BD = context_BLD[whole], raw_BD[whole], unit_BD[whole]
    for h in range(steps if len(whole) else 0):
        if h > 0:
            # Of a chunk that was never read no code is known: it keeps that of the one before it.
            code_BC = context_BLD[:, -1, windows.dim :]
            fed_BD = np.concatenate([unit_BD if windows.normalised else raw_BD, code_BC], axis=1)
            kept_BLD = context_BLD[:, max(0, context_BLD.shape[1] + 1 - longest) :]
            context_BLD = np.concatenate([kept_BLD, fed_BD[:, None]], axis=1)
            raw_BD, unit_BD = predict(context_BLD, eligible.target_row_W)
        cos_BH[whole, h] = cosines(unit_BD, windows.vectors(eligible.rows(h + 1 + shift)))
    return {f"h{h + 1}": cos_BH[:, h] for h in range(steps)} | {"rollout": cos_BH.mean(axis=1)}
