"""`following`: the rank of the target by cosine among itself and all later chunks of its document.

The purest question of order: no candidate has been read by anybody, so that predictors which read contexts of
different lengths compare. Its targets hang on the data and `data.judge_from` alone.

Shape suffixes: W windows, B some of them, D vector dim, S stretches, K rows of a document, n windows of one document.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from lvm_lab.config.presets import Preset
from lvm_lab.data.sketch import row_digests
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge.bootstrap import Number, difference, means
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gate import ISOLATED
from lvm_lab.judge.gates.retrieval import BLOCK, FEWEST_CANDIDATES, TIE, rank_scores
from lvm_lab.judge.predictions import as_read, predict
from lvm_lab.types import Predictor

# The group that its numbers stand in beside the gates' letters: following/mrr.
GROUP = "following"
NAMES = ("mrr", "r1", "r5")
SLICE = 2048


@dataclass(frozen=True)
class Targets:
    """What `following` is measured on in one part.

    windows: one a target, with the context_length of who reads; near the beginning of a stretch fewer vectors are read.
    judge_from: the first row of a stretch that may be a target. digest: equal for equal targets and candidates, whoever
    reads; None where there is no target. reason: why there is none.
    """

    windows: Windows
    judge_from: int
    digest: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Following:
    """One predictor's ranks. numbers: mrr, r1 and r5 with the chance of each; empty, with the reason, where nothing
    could be measured."""

    targets: Targets
    numbers: dict[str, Number] = field(default_factory=dict)
    reason: str | None = None

    def values(self) -> dict[str, float]:
        """The point estimates by `following/<name>`, for tables."""
        return {f"{GROUP}/{name}": number.value for name, number in self.numbers.items()}

    def less(self, other: Following) -> dict[str, Number]:
        """Each number less that of another predictor, paired by target and resample; empty on other targets."""
        if self.targets.digest is None or self.targets.digest != other.targets.digest:
            return {}
        both = [name for name in NAMES if name in self.numbers and name in other.numbers]
        return {name: difference(self.numbers[name], other.numbers[name]) for name in both}

    def to_dict(self) -> dict[str, Any]:
        windows = self.targets.windows
        return {
            "judge_from": self.targets.judge_from,
            "targets": len(windows),
            "documents": len(np.unique(windows.document_W)),
            "digest": self.targets.digest,
            "reason": self.reason,
            "numbers": {name: number.to_dict() for name, number in self.numbers.items()},
        }


def later_windows(windows: Windows, judge_from: int) -> Windows:
    """Every target of a part that is ranked: from row `judge_from` of its stretch on, with at least 5 chunks of its
    document behind it.

    Rows that are no targets (`excluded_N`), and those that stand in a stretch after a chunk that was trained on
    (`seen_N`), are left out. `windows` says which documents the part has; which of them it reads changes nothing.
    """
    stretches_S3 = windows.stretches_S3
    if stretches_S3 is None:
        stretches_S3 = np.stack([windows.document_W, windows.start_W, windows.end_W], axis=1)
    stretches_S3 = np.unique(stretches_S3, axis=0)
    document_S, start_S, end_S = stretches_S3.T
    size_S = end_S - start_S
    ends = np.cumsum(size_S)
    behind_S = ends[np.searchsorted(document_S, document_S, side="right") - 1] - ends
    count_S = np.maximum(size_S - judge_from, 0) * (not windows.isolated)
    stretch_W = np.repeat(np.arange(len(stretches_S3)), count_S)
    place_W = np.arange(len(stretch_W)) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    target_W = start_S[stretch_W] + judge_from + place_W
    kept_W = (end_S[stretch_W] - target_W) + behind_S[stretch_W] >= FEWEST_CANDIDATES
    if windows.excluded_N is not None:
        kept_W &= ~windows.excluded_N[target_W]
    order = np.argsort(target_W[kept_W], kind="stable")
    target_W, stretch_W = target_W[kept_W][order], stretch_W[kept_W][order]
    later = replace(
        windows,
        target_row_W=target_W,
        document_W=document_S[stretch_W],
        start_W=start_S[stretch_W],
        end_W=end_S[stretch_W],
        stretches_S3=stretches_S3,
    )
    return later if windows.seen_N is None else without_seen(later, windows.seen_N)


def without_seen(later: Windows, seen_N: np.ndarray) -> Windows:
    """The targets before which, and at which, no chunk of the stretch was trained on: whoever reads how far back."""
    before = np.concatenate([[0], np.cumsum(seen_N)])
    return later.select(np.flatnonzero(before[later.target_row_W + 1] == before[later.start_W]))


def targets_of(later: Windows, judge_from: int, at_most: int, seed: int) -> Targets:
    """At most so many of them, drawn as the gates' sample is."""
    if later.isolated:
        return Targets(later, judge_from, reason=ISOLATED)
    if not len(later):
        needs = judge_from + FEWEST_CANDIDATES
        reason = (
            f"no document has {needs} chunks: a target from row {judge_from} on, and {FEWEST_CANDIDATES - 1} behind it"
        )
        return Targets(later, judge_from, reason=reason)
    sample = sample_evenly(later, at_most, seed)
    return Targets(sample, judge_from, _digest(sample))


def measure_following(predictor: Predictor, targets: Targets, preset: Preset, device: str = "cpu") -> Following:
    """One forward a target. Numbers are means over targets, with intervals over documents."""
    if targets.reason is not None:
        return Following(targets, reason=targets.reason)
    windows = targets.windows
    try:
        unit_WD = units(predictor, windows, device)
    except UnreadableError as error:
        return Following(targets, reason=str(error))
    if not np.isfinite(unit_WD).all():
        # A mean over the targets that happen to be finite would look like a score.
        return Following(targets, reason="predictions are not finite")
    scores = following_scores(unit_WD, windows)
    columns = {f"{chance}{name}": scores[f"{chance}{name}"] for name in NAMES for chance in ("", "chance_")}
    numbers = means(columns, windows.resampled_W, resamples=preset.resamples, seed=preset.seed)
    return Following(targets, numbers) if numbers["mrr"].windows else Following(targets, reason="no different chunks")


def following_scores(unit_BD: np.ndarray, windows: Windows) -> dict[str, np.ndarray]:
    """r1 to r10 and mrr of the target's rank among itself and all later chunks of its document, and the same by chance.

    Candidates are the different chunks that stand after the target in any stretch of its document, also where one
    stands before it too; those equal to the target are no competitors. One within 1e-6 of the target's cosine ranks
    before it.
    NaN where fewer than 6 candidates are left, the target included.
    """
    before_B, rivals_B = np.zeros((2, len(windows)), dtype=np.int64)
    for some, rows_K in windows.by_document():
        rows_K = rows_K[rows_K >= windows.target_row_W[some].min()]
        before_B[some], rivals_B[some] = _count(unit_BD[some], windows, rows_K, windows.target_row_W[some])
    few_B = rivals_B + 1 < FEWEST_CANDIDATES
    scores = rank_scores(before_B + 1, rivals_B + 1, "")
    return {name: np.where(few_B, np.nan, values) for name, values in scores.items()}


class UnreadableError(ValueError):
    """A predictor cannot be called on a context that is shorter than its context_length."""


def units(predictor: Predictor, windows: Windows, device: str | torch.device = "cpu") -> np.ndarray:
    """unit_WD of every window, called on contexts of one true length at a time; NaN where raw is not finite.

    Raises UnreadableError where a predictor fails on a length below its own.
    """
    unit_WD, windows = np.empty((len(windows), windows.dim), dtype=np.float32), as_read(windows, predictor)
    for positions, some in windows.slices(SLICE):
        try:
            raw_BD, unit_BD = predict(predictor, some.inputs(), device=device)
        except (UserError, ValueError, IndexError, RuntimeError) as error:
            # Somebody's own class may know but one length: that costs one number, and no finished training.
            if some.context_length == windows.context_length or isinstance(error, torch.OutOfMemoryError):
                raise
            reads = f"reads {windows.context_length} vectors and cannot read {some.context_length}"
            raise UnreadableError(f"{reads} ({str(error).partition(chr(10))[0]})") from error
        finite_B1 = np.isfinite(raw_BD).all(axis=1, keepdims=True)
        unit_WD[positions] = np.where(finite_B1, unit_BD, np.nan)
    return unit_WD


def _count(
    unit_nD: np.ndarray, windows: Windows, rows_K: np.ndarray, target_n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many later chunks rank before each target of one document, and how many compete with it."""
    block_KD = windows.vectors_ND[rows_K]
    _, number_K = np.unique(row_digests(block_KD), return_inverse=True)
    place_n = np.searchsorted(rows_K, target_n)
    # Of each different chunk, where it stands last: what decides whether it comes later.
    last_C = np.zeros(number_K.max() + 1, dtype=np.int64)
    last_C[number_K] = np.arange(len(rows_K))
    unit_KD = normalise(block_KD)
    unit_CD, unit_nD = unit_KD[last_C], normalise(unit_nD)
    cos_n = np.einsum("nd,nd->n", unit_nD, unit_KD[place_n])
    counts = np.zeros((2, len(target_n)), dtype=np.int64)
    step = max(1, BLOCK // len(last_C))
    for first in range(0, len(target_n), step):
        some = slice(first, first + step)
        rival_nC = (last_C > place_n[some, None]) & (np.arange(len(last_C)) != number_K[place_n[some]][:, None])
        before_nC = unit_nD[some] @ unit_CD.T >= cos_n[some, None] - TIE
        counts[:, some] = (before_nC & rival_nC).sum(axis=1), rival_nC.sum(axis=1)
    return counts[0], counts[1]


def _digest(sample: Windows) -> str:
    """Of the targets and of all that competes with them, by content."""
    digest = hashlib.sha256()
    for some, rows_K in sample.by_document():
        rows_K = rows_K[rows_K >= sample.target_row_W[some].min()]
        digest.update(np.searchsorted(rows_K, sample.target_row_W[some]).astype("<i8").tobytes())
        digest.update(sample.vectors(rows_K).astype("<f4").tobytes())
    return digest.hexdigest()
