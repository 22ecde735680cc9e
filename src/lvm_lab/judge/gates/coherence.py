"""Gate E: whether the prediction is as good out of domain, at equal internal coherence of the context.

Shape suffixes: B windows, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.config.thresholds import NORMAL
from lvm_lab.judge.bootstrap import difference
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import Gate, Slice
from lvm_lab.judge.results import Check, GateResult, Half

LOW, HIGH = NORMAL
BINS = ("low", "normal", "high")
# Of a part's normal bin, for its mean to be compared.
BIN_WINDOWS, BIN_DOCUMENTS = 30, 10


class CoherenceBins(Gate):
    """Mean cos(prediction, target) on contexts of low, normal and high coherence; the normal bins of VAL and OOD may
    differ by little."""

    letter = "E"
    name = "coherence bins"
    at_most = ("difference",)
    lead = "coherence"
    lacks = "no coherence: a context of one vector, or no window"
    needs_both_parts = True

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return coherence_bins(part.cos_B, coherence(part.context_BLD[..., : part.windows.dim]))

    def result(self, val: Half, ood: Half | None, preset: Preset) -> GateResult:
        halves = {"VAL": val} if ood is None else {"VAL": val, "OOD": ood}
        for part, half in halves.items():
            if half.state is False:
                return GateResult(self.letter, self.name, False, f"{part}: {half.reason}", val, ood)
        if ood is None:
            return GateResult(self.letter, self.name, None, "no OOD set", val, None)
        for part, half in halves.items():
            if reason := _too_few(half):
                return GateResult(self.letter, self.name, None, f"{part}: {reason}", val, ood)
        apart = difference(val.numbers["normal"], ood.numbers["normal"])
        check = Check.within(apart, preset.thresholds["e"]["difference"])
        state = check.passed and not (preset.every_interval_clear and check.undecided)
        reason = None if state else f"the normal bins differ by {apart.value:+.3f} against {check.threshold:g}"
        return GateResult(self.letter, self.name, state, reason, val, ood, {"difference": apart}, {"difference": check})


def _too_few(half: Half) -> str | None:
    """Why the half's normal bin cannot be compared."""
    if "normal" not in half.numbers:
        return half.reason
    normal = half.numbers["normal"]
    if normal.windows >= BIN_WINDOWS and normal.documents >= BIN_DOCUMENTS:
        return None
    return (
        f"the normal bin has {normal.windows} windows of {normal.documents} documents; "
        f"{BIN_WINDOWS} of {BIN_DOCUMENTS} are needed"
    )


def coherence(context_BLD: np.ndarray) -> np.ndarray:
    """The mean cosine of adjacent context vectors; NaN for a context of one."""
    if context_BLD.shape[1] < 2:
        return np.full(len(context_BLD), np.nan)
    unit_BLD = normalise(context_BLD)
    return np.einsum("bld,bld->bl", unit_BLD[:, 1:], unit_BLD[:, :-1]).mean(axis=1)


def coherence_bins(cos_B: np.ndarray, coherence_B: np.ndarray) -> dict[str, np.ndarray]:
    """cos(prediction, target) by bin (NaN outside it), the bins' shares as 0 and 1, and the coherence itself."""
    known_B = ~np.isnan(coherence_B)
    inside = dict(
        zip(BINS, (coherence_B < LOW, (coherence_B >= LOW) & (coherence_B <= HIGH), coherence_B > HIGH), strict=True)
    )
    columns = {name: np.where(inside_B, cos_B, np.nan) for name, inside_B in inside.items()}
    columns |= {f"share_{name}": np.where(known_B, inside_B, np.nan) for name, inside_B in inside.items()}
    return columns | {"coherence": coherence_B}
