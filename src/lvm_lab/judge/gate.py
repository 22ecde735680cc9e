"""What a gate of 5CAT is: the numbers it takes of each window, and when they are good enough. One a file in gates/.

Shape suffixes: W windows of a part's sample, B a slice of them, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number
from lvm_lab.judge.results import Direction, GateResult, Half

# (context_BLD, target rows of the windows) -> raw_BD, unit_BD
Predict = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

ISOLATED = "isolated windows: what stands around a window is unknown"
NEEDS_BOTH = "needs both parts"


@dataclass(frozen=True)
class Slice:
    """Some windows of a sample with the predictions for their own contexts, which all gates share.

    context_BLD: with the columns of TMD codes behind the vectors where the predictor reads those, so that a code goes
    where its vector goes. cos_B: cos(prediction, target). predict: the predictor on other contexts for the same
    windows; each call costs a forward pass a window. longest: the context_length of the whole sample, of which these
    windows may read fewer.
    """

    windows: Windows
    context_BLD: np.ndarray
    raw_BD: np.ndarray
    unit_BD: np.ndarray
    cos_B: np.ndarray
    predict: Predict
    preset: Preset
    longest: int


class Gate:
    """One test of 5CAT. A file in gates/ has one of these; a user's own is named by `_target_` in five_cat.gates.

    letter: its name in results; in lower case the key of its thresholds. name: in tables.
    at_least, at_most: the numbers that decide: of each part, or of both together where it `needs_both_parts`.
    lead: the number whose windows and documents count as the gate's own.
    lacks: what is missing where `lead` could be measured on no window.
    needs_neighbours: it looks at vectors beyond context and target, which isolated windows have not.
    needs_both_parts: VAL or OOD alone cannot pass it; `result` then says how two halves make a gate.
    """

    letter: ClassVar[str]
    name: ClassVar[str]
    at_least: ClassVar[tuple[str, ...]] = ()
    at_most: ClassVar[tuple[str, ...]] = ()
    lead: ClassVar[str]
    lacks: ClassVar[str] = "no window"
    needs_neighbours: ClassVar[bool] = False
    needs_both_parts: ClassVar[bool] = False

    @property
    def directions(self) -> dict[str, Direction]:
        """Which numbers have a threshold, and on which side of it they have to be."""
        return {**dict.fromkeys(self.at_least, "at least"), **dict.fromkeys(self.at_most, "at most")}

    def draw(self, sample: Windows, seed: int) -> dict[str, np.ndarray]:
        """What is drawn at random for the whole sample, one entry a window; `measure` gets its slice's share."""
        return {}

    def measure(self, part: Slice, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Numbers by name, one entry a window, NaN where a window is not eligible."""
        raise NotImplementedError

    def derive(self, numbers: dict[str, Number]) -> dict[str, Number]:
        """The means with what follows from them: margins, contrasts."""
        return numbers

    def missing(self, numbers: Mapping[str, Number]) -> str:
        """Why some of the numbers that decide could not be measured, though `lead` could."""
        absent = [name for name in self.directions if not numbers[name].windows]
        return f"no window has {', '.join(absent)}"

    def result(self, val: Half, ood: Half | None, preset: Preset) -> GateResult:
        """Passed where both halves are, failed where either is."""
        halves = {"VAL": val, "OOD": ood or Half(None, "no OOD set")}
        for state in (False, None):
            reasons = [f"{part}: {half.reason}" for part, half in halves.items() if half.state is state]
            if reasons:
                return GateResult(self.letter, self.name, state, "; ".join(reasons), val, ood)
        return GateResult(self.letter, self.name, True, None, val, ood)
