"""The 5CAT gates once more: slow, in plain loops, one window and one context at a time.

Written from section 4 of the design alone and sharing no code with the package, so that the tests can hold the judge's
numbers against these. numpy does vector arithmetic only; every cosine is float64, of L2-normalised vectors.

L context length, D vector dim, N rows, H rollout steps. A window is `(target_row, start, end, document)`: the rows
[start, end) are its document, its context is the L rows before `target_row`, or all there are of them. A number that
no window can give (no window eligible, an empty bin) is nan.

Where the design leaves something open, this is how it is read here:
- A gate that one part or one number has failed is false, whatever else of it cannot be measured.
- A window that has nothing but its own context to compete with says nothing of unseen candidates.
- Of a context longer than five vectors, the last five are shuffled, reversed and left out. Beside that, and held
  against nothing, every second window (the first, the third, ...) is shuffled as a whole and the others are reversed.
- Of equally good offsets there is no best one; alarms then say nothing that could be compared.

Keys of the dictionary that `reference` returns:

    A_cos-3 .. A_cos+0 .. A_cos+3, A_margin, A_best_k, A_share
    B_r1, B_r5, B_mrr, B_mrr_unseen, B_chance_r1, B_chance_r5, B_chance_mrr, B_share
    C_shuffled, C_reversed, C_left_out, C_repeated, C_foreign, C_shuffled_whole, C_reversed_whole
    D_mean, D_cos+1 .. D_cos+H, D_share
    E_low, E_normal, E_high, and each with _count (windows) and _documents
    forward_contrast, finite
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

OFFSETS = (-3, -2, -1, 0, 1, 2, 3)
MIN_CHUNKS = 6
LAST = 5
TIE = 1e-6
LOW, HIGH = 0.45, 0.55
BINS = ("low", "normal", "high")

Window = tuple[int, int, int, Any]

# The column "passes when" of the table. A pair is (VAL, OOD); one number counts for both parts.
STANDARD: dict[str, dict[str, Any]] = {
    "A": {"cos+1": (0.50, 0.48), "margin": (0.12, 0.10)},
    "B": {"r1": (0.60, 0.55), "r5": (0.95, 0.92), "mrr": (0.80, 0.75)},
    "C": {"shuffled": -0.15, "reversed": -0.10, "left_out": -0.08, "repeated": 0.05, "foreign": 0.05},
    "D": {"mean": (0.45, 0.42)},
    "E": {"difference": 0.05, "min_windows": 30, "min_documents": 10},
}
# The margins, the rollout and how many gates of five are asked for.
PRODUCTION = {**STANDARD, "A": {"cos+1": (0.50, 0.48), "margin": (0.10, 0.08)}, "D": {"mean": (0.50, 0.50)}}
REQUIRED = {"standard": 5, "production": 3, "lnsp_compat": 5}


def unit(vector: np.ndarray) -> np.ndarray:
    """The L2-normalised twin of a vector, in float64. The zero vector stays zero."""
    vector = np.asarray(vector, dtype=np.float64)
    with np.errstate(all="ignore"):
        norm = math.sqrt(float(np.dot(vector, vector)))
        return vector.copy() if norm == 0.0 else vector / norm


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """Cosines are of L2-normalised vectors."""
    with np.errstate(all="ignore"):
        return float(np.dot(unit(one), unit(other)))


def mean(values: Sequence[float]) -> float:
    """The mean over windows; nan when there is none."""
    return math.fsum(values) / len(values) if all(math.isfinite(v) for v in values) and values else math.nan


def context_of(vectors: np.ndarray, window: Window, context_length: int) -> np.ndarray:
    """L vectors, or fewer at a document's beginning, and then the next vector, all from one document."""
    target, start, end, _ = window
    if not start < target < end:
        raise ValueError(f"the window at row {target} does not lie inside its document [{start}, {end})")
    rows = [row for row in range(target - context_length, target) if row >= start]
    return np.stack([np.asarray(vectors[row], dtype=np.float64) for row in rows])


def coherence(context: np.ndarray) -> float:
    """Internal coherence: the mean cosine of adjacent context vectors."""
    return mean([cosine(context[i], context[i + 1]) for i in range(len(context) - 1)])


def bin_of(value: float) -> str | None:
    """Low (< .45), normal (.45 to .55, both ends in) and high internal coherence."""
    if math.isnan(value):
        return None
    if value < LOW:
        return "low"
    return "normal" if value <= HIGH else "high"


def offset_sweep(prediction: np.ndarray, vectors: np.ndarray, window: Window, compat: bool) -> dict[int, float] | None:
    """A: cos(prediction, vector at offset k), k = -3..+3; None without all seven neighbours.

    k = +1 is the target, k = 0 the last context vector. Compat: offsets from the target, so k = 0 is the target.
    """
    target, start, end, _ = window
    origin = target if compat else target - 1
    for k in OFFSETS:
        if not start <= origin + k < end:
            return None
    return {k: cosine(prediction, vectors[origin + k]) for k in OFFSETS}


def target_rank(
    prediction: np.ndarray, vectors: np.ndarray, window: Window, left_out_rows: Sequence[int], compat: bool
) -> tuple[int, int]:
    """B: rank of the target by cosine among the different chunks of its document, and the number of candidates.

    Pessimistic within 1e-6: a competitor that is less than that below the target stands before it. Chunks equal to
    the target are no competitors, and equal chunks are one. What stands in one of the `left_out_rows` is no candidate
    either (the context, for `mrr_unseen`). Compat: strict `>`, no tie tolerance.
    """
    target, start, end, _ = window
    at_target = cosine(prediction, vectors[target])
    rank, candidates = 1, 1
    counted = [vectors[target], *(vectors[row] for row in left_out_rows)]
    for row in range(start, end):
        if any(np.array_equal(vectors[row], vector) for vector in counted):
            continue
        counted.append(vectors[row])
        candidates += 1
        at_row = cosine(prediction, vectors[row])
        # Written with `not`, so that a nan counts against the prediction.
        stands_before = at_row > at_target if compat else not at_row < at_target - TIE
        if stands_before:
            rank += 1
    return rank, candidates


def chance(candidates: int) -> tuple[float, float, float]:
    """B: the chance level beside them: R@1, R@5 and MRR of a random ranking among so many candidates."""
    r1 = 1.0 / candidates
    r5 = min(5, candidates) / candidates
    mrr = math.fsum(1.0 / place for place in range(1, candidates + 1)) / candidates
    return r1, r5, mrr


def shuffled(context: np.ndarray, order: Sequence[int], compat: bool) -> np.ndarray:
    """C: the context is shuffled (a seeded derangement; compat: may be the identity); `order` comes from outside."""
    if sorted(int(i) for i in order) != list(range(len(context))):
        raise ValueError(f"not an order of {len(context)} places: {list(order)}")
    if not compat and any(int(taken) == place for place, taken in enumerate(order)):
        raise ValueError(f"an order that leaves a vector where it was is no derangement: {list(order)}")
    return np.stack([context[int(i)] for i in order])


def reversed_(context: np.ndarray) -> np.ndarray:
    """C: the context is reversed."""
    return np.stack([context[i] for i in range(len(context) - 1, -1, -1)])


def without(context: np.ndarray, place: int, compat: bool) -> np.ndarray:
    """C: one vector left out: removed, the rest moved up, the front padded with a copy of the first that remains.

    Compat: drops it and appends the last again (the last place changes nothing).
    """
    rest = [context[i] for i in range(len(context)) if i != place]
    if compat:
        return np.stack([*rest, context[-1]])
    return np.stack([rest[0], *rest])


def at_the_end(context: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """C: the last five vectors changed, what stands before them as it was."""
    if len(context) <= LAST:
        return change(context)
    return np.concatenate([context[: len(context) - LAST], change(context[len(context) - LAST :])])


def repeated(context: np.ndarray) -> np.ndarray:
    """C: all replaced by the last."""
    return np.stack([context[-1] for _ in range(len(context))])


def foreign(context: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """C: the last replaced by one of another document (compat: by the first of the context)."""
    return np.stack([*context[:-1], np.asarray(vector, dtype=np.float64)])


def rollout_rows(window: Window, rollout_steps: int, compat: bool) -> list[int] | None:
    """D: the rows of the vectors at offset +h, h = 1..H (compat: target + h); None without all H of them."""
    target, _, end, _ = window
    first = target + 1 if compat else target
    rows = [first + h for h in range(rollout_steps)]
    return rows if rows[-1] < end else None


def reference(
    predict: Callable[[np.ndarray], np.ndarray],
    vectors: np.ndarray,
    windows: Sequence[Window],
    foreign_rows: Sequence[int | None],
    permutations: Sequence[Sequence[int]],
    whole: Sequence[Sequence[int] | None] | None = None,
    *,
    context_length: int = 5,
    rollout_steps: int = 5,
    feedback: str = "unit",
    compat: bool = False,
    first: int | None = None,
) -> dict[str, Any]:
    """All numbers of the five gates for one part (VAL or OOD).

    A offset sweep: mean cos(prediction, vector at offset k), k = -3..+3; margin = cos(+1) - max over the other k.
    B retrieval rank: R@1, R@5, MRR of the target among the chunks of its document (at least 6 besides the context; the
    old tool counts the context), and the chance level.
    C order ablations: change of cos(prediction, target), against the intact context.
    D rollout: predictions fed back for H steps, the window sliding once it has all L vectors; mean over h of cos(h-th
    prediction, offset +h).
    E coherence bins: mean cos(prediction, target) on windows of low, normal and high internal coherence.

    One sample serves all gates; A and D use its eligible windows (all seven neighbours; H true next vectors) and
    report their share. `feedback` is what the rollout puts into its context: the unit or the raw prediction.
    `permutations` are of the last places (compat: of all); `whole` of all places, where a whole context is shuffled.
    `compat` is the old tool, quirks included (`5cat=lnsp_compat`): its foreign test ignores `foreign_rows`, and each of
    its tests takes the `first` windows in file order that it can use (None: all of them).
    """
    if feedback not in ("unit", "raw"):
        raise ValueError(f"feedback is unit or raw, not {feedback!r}")
    if not len(windows) == len(foreign_rows) == len(permutations):
        raise ValueError("windows, foreign_rows and permutations must be equally long")

    finite = True

    def ask(context: np.ndarray) -> np.ndarray:
        nonlocal finite
        raw = np.asarray(predict(context.copy()), dtype=np.float64)
        finite = finite and bool(np.isfinite(raw).all())
        return raw

    a_cos: dict[int, list[float]] = {k: [] for k in OFFSETS}
    b: dict[str, list[float]] = {
        name: [] for name in ("r1", "r5", "mrr", "mrr_unseen", "chance_r1", "chance_r5", "chance_mrr")
    }
    names = ("shuffled", "reversed", "left_out", "repeated", "foreign", "shuffled_whole", "reversed_whole")
    c: dict[str, list[float]] = {name: [] for name in names}
    d_cos: dict[int, list[float]] = {h: [] for h in range(1, rollout_steps + 1)}
    e_cos: dict[str, list[float]] = {name: [] for name in BINS}
    e_documents: dict[str, set[Any]] = {name: set() for name in BINS}

    document_of: dict[int, Any] = {}
    for _, start, end, document in windows:
        document_of.update(dict.fromkeys(range(start, end), document))

    def full(taken: Sequence[Any]) -> bool:
        return compat and first is not None and len(taken) >= first

    for number, (window, foreign_row, order) in enumerate(zip(windows, foreign_rows, permutations, strict=True)):
        target_row, start, end, document = window
        context = context_of(vectors, window, context_length)
        target = vectors[target_row]
        prediction = ask(context)
        intact = cosine(prediction, target)

        # A
        sweep = offset_sweep(prediction, vectors, window, compat)
        if sweep is not None and not full(a_cos[1]):
            for k in OFFSETS:
                a_cos[k].append(sweep[k])

        # B
        seen = range(target_row - len(context), target_row)
        rank_unseen, unseen = target_rank(prediction, vectors, window, seen, compat)
        if (end - start if compat else unseen) >= MIN_CHUNKS and not full(b["mrr"]):
            rank, candidates = target_rank(prediction, vectors, window, (), compat)
            b["r1"].append(1.0 if rank <= 1 else 0.0)
            b["r5"].append(1.0 if rank <= 5 else 0.0)
            b["mrr"].append(1.0 / rank)
            for name, level in zip(("chance_r1", "chance_r5", "chance_mrr"), chance(candidates), strict=True):
                b[name].append(level)
            if unseen > 1:
                b["mrr_unseen"].append(1.0 / rank_unseen)

        # C
        if not full(c["repeated"]):
            if len(context) > 1:
                mixed, turned = lambda some, order=order: shuffled(some, order, compat), reversed_
                for name, change in (("shuffled", mixed), ("reversed", turned)):
                    broken = change(context) if compat else at_the_end(context, change)
                    c[name].append(cosine(ask(broken), target) - intact)
                changes = []
                for place in range(0 if compat else max(0, len(context) - LAST), len(context)):
                    changes.append(cosine(ask(without(context, place, compat)), target) - intact)
                c["left_out"].append(mean(changes))
            if len(context) > LAST and not compat:
                if number % 2 == 0:
                    assert whole is not None
                    every = whole[number]
                    assert every is not None
                    c["shuffled_whole"].append(cosine(ask(shuffled(context, every, compat)), target) - intact)
                else:
                    c["reversed_whole"].append(cosine(ask(reversed_(context)), target) - intact)
            c["repeated"].append(cosine(ask(repeated(context)), target) - intact)
            if compat:
                c["foreign"].append(cosine(ask(foreign(context, context[0])), target) - intact)
            elif foreign_row is not None:
                if document_of[foreign_row] == document:
                    raise ValueError(f"row {foreign_row} is of the same document as the window at row {target_row}")
                c["foreign"].append(cosine(ask(foreign(context, vectors[foreign_row])), target) - intact)

        # D
        rows = rollout_rows(window, rollout_steps, compat)
        if rows is not None and not full(d_cos[1]):
            sliding, step = context, prediction
            for h, row in enumerate(rows, start=1):
                if h > 1:
                    fed_back = unit(step) if feedback == "unit" else step
                    # Shorter than L, it reads on; else the window slides.
                    sliding = np.stack([*sliding, fed_back][-context_length:])
                    step = ask(sliding)
                d_cos[h].append(cosine(step, vectors[row]))

        # E
        name = bin_of(coherence(context))
        taken = [value for values in e_cos.values() for value in values]
        if name is not None and not (compat and name == "high") and not full(taken):
            e_cos[name].append(intact)
            e_documents[name].add(document)

    numbers: dict[str, Any] = {}

    by_offset = {k: mean(a_cos[k]) for k in OFFSETS}
    for k in OFFSETS:
        numbers[f"A_cos{k:+d}"] = by_offset[k]
    if any(math.isnan(value) for value in by_offset.values()):
        numbers["A_margin"] = math.nan
        numbers["A_best_k"] = math.nan
    else:
        numbers["A_margin"] = by_offset[1] - max(by_offset[k] for k in OFFSETS if k != 1)
        best = max(by_offset.values())
        nearest = [k for k in OFFSETS if by_offset[k] >= best - TIE]
        numbers["A_best_k"] = nearest[0] if len(nearest) == 1 else math.nan
    numbers["forward_contrast"] = by_offset[1] - (by_offset[2] + by_offset[3]) / 2.0

    for name, values in b.items():
        numbers[f"B_{name}"] = mean(values)
    for name, values in c.items():
        numbers[f"C_{name}"] = mean(values)

    by_step = {h: mean(d_cos[h]) for h in d_cos}
    for h, value in by_step.items():
        numbers[f"D_cos{h:+d}"] = value
    numbers["D_mean"] = mean(list(by_step.values()))

    for name in BINS:
        numbers[f"E_{name}"] = mean(e_cos[name])
        numbers[f"E_{name}_count"] = len(e_cos[name])
        numbers[f"E_{name}_documents"] = len(e_documents[name])

    for gate, eligible in (("A", len(a_cos[1])), ("B", len(b["mrr"])), ("D", len(d_cos[1]))):
        numbers[f"{gate}_share"] = eligible / len(windows) if len(windows) else math.nan
    numbers["finite"] = finite
    return numbers


def gate_states(
    val: dict[str, Any], ood: dict[str, Any] | None, thresholds: dict[str, dict[str, Any]] | None = None
) -> dict[str, bool | None]:
    """A gate is true, false or null (None): not measurable, which is not passed. The point estimate decides.

    A non-finite prediction, in either part, fails every gate, also those that would be null. Null is a gate without
    an OOD set, without the windows that one of its numbers needs (isolated windows: no neighbours, no next vectors,
    no other document), or with fewer than 30 windows or 10 documents in a normal bin (E).
    A: cos(+1) and margin. B: R@1, R@5 and MRR. C: every change at or below its bound, on both parts. D: the mean.
    E: the normal-bin means of VAL and OOD differ by no more than the bound.
    """
    limits = STANDARD if thresholds is None else thresholds
    parts = [val] if ood is None else [val, ood]
    if not all(part["finite"] for part in parts):
        return dict.fromkeys("ABCDE", False)

    states: dict[str, bool | None] = {}
    for gate in "ABCD":
        found: list[bool | None] = [] if ood is not None else [None]
        for place, part in enumerate(parts):
            for name, limit in limits[gate].items():
                bound = limit[place] if isinstance(limit, (tuple, list)) else limit
                value = part[f"{gate}_{name}"]
                if math.isnan(value):
                    found.append(None)
                else:
                    found.append(value <= bound if gate == "C" else value >= bound)
        states[gate] = False if False in found else None if None in found else True

    enough = ood is not None and all(
        part["E_normal_count"] >= limits["E"]["min_windows"]
        and part["E_normal_documents"] >= limits["E"]["min_documents"]
        for part in parts
    )
    states["E"] = None
    if ood is not None and enough:
        states["E"] = abs(val["E_normal"] - ood["E_normal"]) <= limits["E"]["difference"]
    return states


def alarm(part: dict[str, Any], compat: bool = False) -> str | None:
    """Backward bias when the best k < 0, copying when the best k = 0; compat names the last context vector -1.

    Whether its lead is clear enough for an alarm is not asked here.
    """
    last = -1 if compat else 0
    if math.isnan(part["A_best_k"]) or part["A_best_k"] > last:
        return None
    return "copying" if part["A_best_k"] == last else "backward bias"
