"""From numbers a window to halves, gates and a verdict: means, intervals and thresholds, shared by both tools.

Shape suffixes: W windows of a part's sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lvm_lab.config.presets import PartThresholds, Preset
from lvm_lab.judge.bootstrap import Number, combine, difference, means
from lvm_lab.judge.gates.ablations import CHANGES
from lvm_lab.judge.gates.coherence import FEWEST_DOCUMENTS, FEWEST_WINDOWS
from lvm_lab.judge.results import Alarm, Check, FiveCat, Gate, Half, PartScores, State, Verdict

DOCUMENTS_FOR_VERDICT = 20
AT_LEAST = {"A": ("cos", "margin"), "B": ("r1", "r5", "mrr"), "D": ("rollout",)}
TO_CHECK = "the data gate, swapped context and target, reversed documents"
ISOLATED = "isolated windows: what stands around a window is unknown"
LACKS = {
    "A": "no window has all seven neighbours from -3 to +3",
    "B": "no window's document has 6 chunks",
    "C": "no window",
    "D": "no window has so many true next vectors",
    "E": "no coherence: a context of one vector, or no window",
}


@dataclass(frozen=True)
class Table:
    """A part's numbers a window, by gate and name; NaN where a window is not eligible.

    last_k: the tool's own name for the offset of the last context vector (alarms are about it).
    """

    columns: dict[str, dict[str, np.ndarray]]
    document_W: np.ndarray
    target_row_W: np.ndarray
    broken: int
    isolated: bool
    context_length: int
    last_k: int = 0


def score_part(table: Table, preset: Preset, part: str) -> PartScores:
    """The halves of one part; `ood` is held against the OOD numbers, any other part against VAL's."""
    thresholds = preset.thresholds.ood if part == "ood" else preset.thresholds.val
    total = len(table.document_W)
    flat = {f"{gate}/{name}": x for gate, columns in table.columns.items() for name, x in columns.items()}
    seed = [preset.seed, 3, int(part == "ood")]
    scored = means(flat, table.document_W, resamples=preset.resamples, seed=seed)
    halves = {}
    for gate, columns in table.columns.items():
        numbers = {name: scored[f"{gate}/{name}"] for name in columns}
        if table.broken:
            reason = f"{table.broken} of {total} windows have a prediction that is not finite"
            halves[gate] = Half(False, reason, windows=total, documents=len(np.unique(table.document_W)))
        else:
            halves[gate] = _half(gate, numbers, table, thresholds, preset.every_interval_clear)
    best_k = _best_k(halves["A"].numbers)
    alarms = []
    if best_k is not None and best_k <= table.last_k:
        alarms.append(Alarm("copying" if best_k == table.last_k else "backward bias", part, best_k, TO_CHECK))
    documents = len(np.unique(table.document_W))
    return PartScores(part, halves, total, documents, table.broken, best_k, alarms, table.target_row_W)


def put_together(preset: Preset, val: PartScores, ood: PartScores | None, documents: int | None = None) -> FiveCat:
    """The gates of both parts and the verdict. documents: of the whole store; else the fewest of a part's sample."""
    gates = {letter: _both(letter, val, ood) for letter in "ABCD"} | {"E": _coherence_gate(preset, val, ood)}
    states = [gate.state for gate in gates.values()]
    passed, unknown = states.count(True), states.count(None)
    if documents is None:
        documents = min(part.documents for part in (val, ood) if part is not None)
    verdict: Verdict = "pass" if passed >= preset.required else "fail"
    reason = None if verdict == "pass" else f"{passed} of 5 gates passed and {preset.required} are needed"
    if val.broken or (ood is not None and ood.broken):
        verdict, reason = "fail", "predictions are not finite"
    elif documents < DOCUMENTS_FOR_VERDICT:
        verdict, reason = "undecided", f"{documents} documents are too few; {DOCUMENTS_FOR_VERDICT} are needed"
    elif verdict == "fail" and passed + unknown >= preset.required:
        verdict, reason = "undecided", f"{unknown} of 5 gates could not be measured"
    return FiveCat(preset.name, preset.required, verdict, reason, gates, val, ood)


def _half(gate: str, numbers: dict[str, Number], table: Table, thresholds: PartThresholds, clear: bool) -> Half:
    lead = {"A": "k+1", "B": "r1", "C": "repeated", "D": "rollout", "E": "coherence"}[gate]
    windows, documents = numbers[lead].windows, numbers[lead].documents
    share = windows / len(table.document_W) if windows else 0.0
    if windows == 0:
        return Half(None, ISOLATED if table.isolated and gate in "AD" else LACKS[gate])
    if gate == "A":
        numbers = _offset_numbers(numbers)
    wanted = CHANGES if gate == "C" else AT_LEAST.get(gate, ())
    measured = [name for name in wanted if numbers[name].windows]
    sense = -1 if gate == "C" else 1
    checks = {name: _check(numbers[name], getattr(thresholds, name), sense) for name in measured}
    reason: str | None = None
    state: State = all(check.passed and not (clear and check.undecided) for check in checks.values())
    if state and len(measured) < len(wanted):
        state, reason = None, _missing(numbers)
    elif gate == "E":
        state, reason = None, "needs both parts"
    elif not state:
        reason = "; ".join(_sentence(name, numbers[name], c) for name, c in checks.items() if not c.passed)
        reason = reason or "an interval straddles its threshold"
    return Half(state, reason, numbers, checks, windows, documents, share)


def _offset_numbers(numbers: dict[str, Number]) -> dict[str, Number]:
    others = [number for name, number in numbers.items() if name != "k+1"]
    return {
        "cos": numbers["k+1"],
        "margin": combine(lambda first, *rest: first - np.maximum.reduce(rest), numbers["k+1"], *others),
        "contrast": combine(lambda x, y, z: x - (y + z) / 2, numbers["k+1"], numbers["k+2"], numbers["k+3"]),
        **numbers,
    }


def _best_k(numbers: dict[str, Number]) -> int | None:
    """The offset of the highest mean; among equals the one nearest to +1, so that zeros raise no alarm."""
    means_k = {int(name[1:]): number.value for name, number in numbers.items() if name.startswith("k")}
    if not means_k:
        return None
    top = max(means_k.values())
    return min((k for k, value in means_k.items() if value >= top - 1e-9), key=lambda k: abs(k - 1))


def _check(number: Number, threshold: float, sense: int) -> Check:
    """sense: +1 when the number has to be at least the threshold, -1 when at most."""
    distances = [sense * (x - threshold) for x in (number.low, number.high)]
    clear = min(distances) >= 0 or max(distances) < 0
    return Check(threshold, sense * (number.value - threshold) >= 0, math.isnan(number.low) or not clear)


def _sentence(name: str, number: Number, check: Check) -> str:
    return f"{name} {number.value:.3f} against {check.threshold:g}"


def _missing(numbers: dict[str, Number]) -> str:
    if not numbers["reversed"].windows:
        return "a context of one vector has no order"
    return "only one document: no other to take a vector from"


def _both(letter: str, val: PartScores, ood: PartScores | None) -> Gate:
    halves = {"VAL": val.halves[letter], "OOD": ood.halves[letter] if ood else Half(None, "no OOD set")}
    for state in (False, None):
        found = [f"{name}: {half.reason}" for name, half in halves.items() if half.state is state]
        if found:
            return Gate(letter, state, "; ".join(found), halves["VAL"], halves["OOD"] if ood else None)
    return Gate(letter, True, None, halves["VAL"], halves["OOD"])


def _coherence_gate(preset: Preset, val: PartScores, ood: PartScores | None) -> Gate:
    mine, theirs = val.halves["E"], ood.halves["E"] if ood else None
    for name, half in (("VAL", mine), ("OOD", theirs)):
        if half is not None and half.state is False:
            return Gate("E", False, f"{name}: {half.reason}", mine, theirs)
    if theirs is None:
        return Gate("E", None, "no OOD set", mine, None)
    for name, half in (("VAL", mine), ("OOD", theirs)):
        if "normal" not in half.numbers:
            return Gate("E", None, f"{name}: {half.reason}", mine, theirs)
        normal = half.numbers["normal"]
        if normal.windows < FEWEST_WINDOWS or normal.documents < FEWEST_DOCUMENTS:
            return Gate(
                "E",
                None,
                f"{name}: the normal bin has {normal.windows} windows of {normal.documents} documents; "
                f"{FEWEST_WINDOWS} of {FEWEST_DOCUMENTS} are needed",
                mine,
                theirs,
            )
    apart = difference(mine.numbers["normal"], theirs.numbers["normal"])
    limit = preset.thresholds.difference
    inside = [abs(x) <= limit for x in (apart.low, apart.high)]
    wholly_outside = min(apart.low, apart.high) > limit or max(apart.low, apart.high) < -limit
    check = Check(limit, abs(apart.value) <= limit, not (all(inside) or wholly_outside))
    state = check.passed and not (preset.every_interval_clear and check.undecided)
    reason = None if state else f"the normal bins differ by {apart.value:+.3f} against {limit:g}"
    return Gate("E", state, reason, mine, theirs, apart, check)
