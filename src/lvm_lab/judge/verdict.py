"""From numbers a window to halves, gates and a verdict: means, intervals and thresholds, shared by both tools.

Shape suffixes: W windows of a part's sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.judge.bootstrap import Number, means
from lvm_lab.judge.gate import ISOLATED, NEEDS_BOTH, Gate
from lvm_lab.judge.gates import load as load_gates
from lvm_lab.judge.gates import offsets
from lvm_lab.judge.results import Check, FiveCat, Half, PartScores, State, state_of, verdict_of


@dataclass(frozen=True)
class Measurements:
    """A part's numbers a window, by gate and name; NaN where a window is not eligible.

    not_finite: windows with a prediction that is not. last_k: the tool's own name for the offset of the last context
    vector (alarms are about it).
    """

    gates: tuple[Gate, ...]
    columns: dict[str, dict[str, np.ndarray]]
    document_W: np.ndarray
    target_row_W: np.ndarray
    not_finite: int
    isolated: bool
    last_k: int = 0


def score_part(measured: Measurements, preset: Preset, part: str) -> PartScores:
    """The halves of one part; `ood` is held against the OOD numbers, any other part against VAL's."""
    total, documents = len(measured.document_W), len(np.unique(measured.document_W))
    flat = {f"{letter}/{name}": x for letter, columns in measured.columns.items() for name, x in columns.items()}
    seed = [preset.seed, 3, int(part == "ood")]
    number = means(flat, measured.document_W, resamples=preset.resamples, seed=seed)
    halves = {}
    for gate in measured.gates:
        numbers = {name: number[f"{gate.letter}/{name}"] for name in measured.columns[gate.letter]}
        if measured.not_finite:
            reason = f"{measured.not_finite} of {total} windows have a prediction that is not finite"
            halves[gate.letter] = Half(False, reason, windows=total, documents=documents)
        else:
            halves[gate.letter] = _half(gate, numbers, measured, preset, "ood" if part == "ood" else "val")
    sweep = halves["A"].numbers if "A" in halves else {}
    return PartScores(
        part=part,
        halves=halves,
        alone=tuple(gate.letter for gate in measured.gates if not gate.needs_both_parts),
        windows=total,
        documents=documents,
        not_finite=measured.not_finite,
        best_k=offsets.best_offset(sweep),
        alarms=offsets.alarms(sweep, measured.last_k, part),
        target_row_W=measured.target_row_W,
    )


def unmeasured(preset: Preset, part: str, reason: str) -> PartScores:
    """A part on which no gate was measured: every half is null for this reason."""
    gates = load_gates(preset)
    return PartScores(
        part=part,
        halves={gate.letter: Half(None, reason) for gate in gates},
        alone=tuple(gate.letter for gate in gates if not gate.needs_both_parts),
        windows=0,
        documents=0,
        not_finite=0,
        best_k=None,
        alarms=[],
        target_row_W=np.zeros(0, dtype=np.int64),
    )


def put_together(preset: Preset, val: PartScores, ood: PartScores | None) -> FiveCat:
    """The gates of both parts and the verdict, which is undecided where a part was judged on too few documents."""
    gates = {
        gate.letter: gate.result(val.halves[gate.letter], ood.halves[gate.letter] if ood else None, preset)
        for gate in load_gates(preset)
    }
    parts = [part for part in (val, ood) if part is not None]
    verdict, reason = verdict_of(
        [gate.state for gate in gates.values()],
        preset.required,
        {part.part: part.documents for part in parts},
        any(part.not_finite for part in parts),
    )
    return FiveCat(preset.name, preset.required, verdict, reason, gates, val, ood)


def _half(gate: Gate, numbers: dict[str, Number], measured: Measurements, preset: Preset, part: str) -> Half:
    windows, documents = numbers[gate.lead].windows, numbers[gate.lead].documents
    if windows == 0:
        return Half(None, ISOLATED if measured.isolated and gate.needs_neighbours else gate.lacks)
    share = windows / len(measured.document_W)
    numbers = gate.derive(numbers)
    if gate.needs_both_parts:
        return Half(None, NEEDS_BOTH, numbers, {}, windows, documents, share)
    thresholds = preset.thresholds[gate.letter.lower()][part]
    checks = {
        name: Check.of(numbers[name], thresholds[name], direction)
        for name, direction in gate.directions.items()
        if numbers[name].windows
    }
    values = {name: number.value for name, number in numbers.items()}
    state: State
    state, reason = state_of(checks, values, preset.every_interval_clear)
    if state and len(checks) < len(gate.directions):
        state, reason = None, gate.missing(numbers)
    return Half(state, reason, numbers, checks, windows, documents, share)
