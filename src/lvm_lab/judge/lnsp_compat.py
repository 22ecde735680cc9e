"""The field's old 5CAT tool with its quirks, to read old reports by (`5cat=lnsp_compat`); judge nothing new with it.

- A counts offsets from the target and wants k = +1, the vector after it, to be best.
- B puts only what is strictly above before the target; there are no ties, the context competes too.
- C: left-out drops i and appends the last again (so that i = 4 changes nothing), the shuffle may be
  the identity, and "cross-article" overwrites the last vector with the first of the same context.
- D holds the h-th prediction against the vector at target + h.
- E drops windows above .55.
- No sample: every test takes the first N windows in file order that it can use. It knows contexts of one length alone:
  windows that read fewer vectors are used by none.

Its alarms are ours, about the same vectors: its k = -1 is the last context vector.

Shape suffixes: W windows, B some of them, L context length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lvm_lab.config.presets import Preset
from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gates import load as load_gates
from lvm_lab.judge.gates.ablations import CHANGES
from lvm_lab.judge.gates.coherence import HIGH, coherence, coherence_bins
from lvm_lab.judge.gates.offsets import OFFSETS, offset_cosines
from lvm_lab.judge.gates.retrieval import FEWEST_CANDIDATES, retrieval_scores
from lvm_lab.judge.gates.rollout import rollout_cosines
from lvm_lab.judge.predictions import Forward
from lvm_lab.judge.verdict import Measurements

SHIFT = 1  # its offset 0 is the target
SLICE = 2048


def measurements(forward: Forward, windows: Windows, preset: Preset, at_most: int) -> Measurements:
    """The numbers of each test's own first windows; the columns reach as far as the furthest of them."""
    steps = preset.rollout_steps
    whole_W = windows.length_W == windows.context_length
    around_W = whole_W & (not windows.isolated)
    eligible = {
        "A": around_W & windows.has(OFFSETS[0] + SHIFT, OFFSETS[-1] + SHIFT),
        "B": whole_W & (windows.end_W - windows.start_W >= FEWEST_CANDIDATES),
        "C": whole_W,
        "D": around_W & windows.has(1, steps + SHIFT),
    }
    first = {letter: np.flatnonzero(eligible_W)[:at_most] for letter, eligible_W in eligible.items()}
    first["E"] = _first_coherent(windows, np.flatnonzero(whole_W), at_most)
    total = max((int(places[-1]) + 1 for places in first.values() if len(places)), default=0)
    columns: dict[str, dict[str, np.ndarray]] = {}
    for letter, places in first.items():
        columns[letter] = {}
        for start in range(0, max(len(places), 1), SLICE):
            some = places[start : start + SLICE]
            for name, values_B in _numbers(letter, forward, windows.select(some), steps, preset.seed + start).items():
                columns[letter].setdefault(name, np.full(total, np.nan))[some] = values_B
    head = windows.select(np.arange(total))
    return Measurements(
        load_gates(preset),
        columns,
        head.resampled_W,
        head.target_row_W,
        len(forward.not_finite),
        windows.isolated,
        last_k=-SHIFT,
    )


def _numbers(letter: str, forward: Forward, windows: Windows, steps: int, seed: int) -> dict[str, np.ndarray]:
    context_BLD = windows.inputs()
    raw_BD, unit_BD = forward(context_BLD, windows.target_row_W)
    if letter == "A":
        return offset_cosines(unit_BD, windows, SHIFT)
    if letter == "B":
        return retrieval_scores(unit_BD, windows, pessimistic=False)
    if letter == "D":
        longest = windows.context_length
        return rollout_cosines(forward, context_BLD, raw_BD, unit_BD, windows, steps, SHIFT, longest=longest)
    target_BD = windows.vectors(windows.target_row_W)
    cos_B = cosines(unit_BD, target_BD)
    if letter == "E":
        return coherence_bins(cos_B, coherence(context_BLD[..., : windows.dim]))
    changes = {}
    for name, orders in old_orders(len(windows), windows.context_length, seed).items():
        ablations = [np.take_along_axis(context_BLD, order_BL[:, :, None], axis=1) for order_BL in orders]
        units = [forward(ablated_BLD, windows.target_row_W)[1] for ablated_BLD in ablations]
        changes[name] = np.mean([cosines(unit_BD, target_BD) - cos_B for unit_BD in units], axis=0)
    return {name: changes[name] for name in CHANGES}


def old_orders(count: int, length: int, seed: int) -> dict[str, list[np.ndarray]]:
    """How each ablation picks from the context, a row a window; several where it is a mean over places."""
    places_L = np.arange(length)
    last = length - 1
    left_out = [[*(place for place in range(length) if place != i), last] for i in range(length)]
    every: dict[str, Sequence[Sequence[int] | np.ndarray]] = {
        "reversed": [places_L[::-1]],
        "left_out": left_out,
        "repeated": [[last] * length],
        "foreign": [[*range(last), 0]],
    }
    orders = {name: [np.tile(order, (count, 1)) for order in picks] for name, picks in every.items()}
    shuffled_BL = np.random.default_rng([seed, 1]).permuted(np.tile(places_L, (count, 1)), axis=1)
    return orders | {"shuffled": [shuffled_BL]}


def _first_coherent(windows: Windows, whole: np.ndarray, at_most: int) -> np.ndarray:
    """The first of these windows whose context is not more coherent than .55, read only as far as needed."""
    places: list[int] = []
    for start in range(0, len(whole), SLICE):
        if len(places) >= at_most:
            break
        some = whole[start : start + SLICE]
        places.extend(some[coherence(windows.context(some)) <= HIGH].tolist())
    return np.array(places[:at_most], dtype=np.int64)
