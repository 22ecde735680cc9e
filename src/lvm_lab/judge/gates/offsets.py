"""Gate A: which of the neighbours the prediction looks like.

Shape suffixes: B windows, D vector dim, K offsets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import LEVEL, Number, combine
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gate import Gate, Slice
from lvm_lab.judge.results import Alarm

OFFSETS = tuple(range(-3, 4))
SLICE = 512
OFFSET = re.compile(r"k([+-]\d+)")
TO_CHECK = "the data gate, swapped context and target, reversed documents"


class OffsetSweep(Gate):
    """Mean cos(prediction, vector at offset k) for k = -3 to +3; margin: of k = +1 over the best other."""

    letter = "A"
    name = "offset sweep"
    at_least = ("cos", "margin")
    lead = "k+1"
    lacks = "no window has all seven neighbours from -3 to +3"
    needs_neighbours = True

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return offset_cosines(part.unit_BD, part.windows)

    def derive(self, numbers: dict[str, Number]) -> dict[str, Number]:
        others = [number for name, number in numbers.items() if name != "k+1"]
        return {
            "cos": numbers["k+1"],
            "margin": combine(lambda first, *rest: first - np.maximum.reduce(rest), numbers["k+1"], *others),
            "contrast": combine(lambda x, y, z: x - (y + z) / 2, numbers["k+1"], numbers["k+2"], numbers["k+3"]),
            **numbers,
        }


def offset_cosines(unit_BD: np.ndarray, windows: Windows, shift: int = 0) -> dict[str, np.ndarray]:
    """cos(prediction, vector at offset k + shift) by name `k-3` to `k+3`; NaN where a neighbour is missing.

    shift: 0 counts k from the last context vector, 1 from the target (the old tool's way).
    """
    rows_BK = np.stack([windows.rows(k + shift) for k in OFFSETS], axis=1)
    cos_BK = np.full(rows_BK.shape, np.nan)
    if not windows.isolated:
        whole = np.flatnonzero(windows.has(OFFSETS[0] + shift, OFFSETS[-1] + shift))
        # Seven neighbours in float64 for a slice at a time stay within the processor's cache.
        for some in np.split(whole, range(SLICE, len(whole), SLICE)):
            cos_BK[some] = cosines(unit_BD[some, None], windows.vectors(rows_BK[some]))
    return {f"k{k:+d}": cos_BK[:, i] for i, k in enumerate(OFFSETS)}


def best_offset(numbers: Mapping[str, Number]) -> int | None:
    """The offset of the highest mean; among equals the one nearest to +1, so that zeros raise no alarm."""
    means = {int(match[1]): number.value for name, number in numbers.items() if (match := OFFSET.fullmatch(name))}
    if not means:
        return None
    top = max(means.values())
    return min((k for k, value in means.items() if value >= top - 1e-9), key=lambda k: abs(k - 1))


def alarms(numbers: Mapping[str, Number], last_k: int, part: str) -> list[Alarm]:
    """An alarm where predictions are clearly nearer to what was read than to the target.

    Clearly: the interval of the best read offset's lead over the target, paired over documents and with the best chosen
    anew in every resample, is above 0; at a level that makes up for choosing among several (Bonferroni). last_k: the
    offset of the last context vector.
    """
    best_k = best_offset(numbers)
    if best_k is None or best_k > last_k:
        return []
    read = [numbers[f"k{k:+d}"] for k in OFFSETS if k <= last_k]
    lead = combine(lambda target, *others: np.maximum.reduce(others) - target, numbers[f"k{last_k + 1:+d}"], *read)
    if not lead.interval(1 - (1 - LEVEL) / len(read))[0] > 0:
        return []
    return [Alarm("copying" if best_k == last_k else "backward bias", part, best_k, TO_CHECK)]
