"""The arrow of time: whether held-out documents run the way the training documents do, as far as a line can tell.

One ridge regression reads the training documents forwards, another reads the same documents backwards, and both
predict the same held-out windows. The position curve cannot tell a document from the same one read backwards; this
can. What it cannot see (a process that looks the same both ways, a corpus turned round as a whole) is told in
docs/diagnostics.md.

Shape suffixes: W windows, L context length, S = L + 1 vectors of a span, D vector dim, K directions kept,
F = L x K features, M = S x K + 1 features of a span and a constant, G groups of training documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lvm_lab.config.thresholds import DOCUMENTS_FOR_INTERVAL
from lvm_lab.data.windows import Windows, of_one_length, sample_evenly
from lvm_lab.judge.baselines.ridge import PENALTIES
from lvm_lab.judge.bootstrap import Number, difference, means
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gates.retrieval import retrieval_scores

FIT_WINDOWS = 5_000
SCORED_WINDOWS = 1_000
# The cost then hardly depends on the encoder's dims; a ridge keeps little of the others anyway.
DIRECTIONS = 128
GROUPS = 10

Way = Literal["forwards", "backwards", "undecided"]


@dataclass(frozen=True)
class Arrow:
    """What two ridges score, one that read the training documents forwards and one that read them backwards.

    verdict: whose cosine is clearly higher on held-out windows as they stand. easier: whether held-out vectors are
    clearly nearer to what is told from the context before them (forwards) or from the one after them (backwards).
    reason: why nothing could be measured. numbers: mean cosine and mean reciprocal rank among the document's unseen
    chunks, by name; those of `differences` have an interval that covers the draw of both parts.
    """

    verdict: Way
    easier: Way
    reason: str | None = None
    numbers: dict[str, Number] | None = None
    penalty: float | None = None

    def to_dict(self) -> dict[str, Any]:
        numbers = {name: number.to_dict() for name, number in (self.numbers or {}).items()}
        return vars(self) | {"numbers": numbers}


@dataclass(frozen=True)
class _Space:
    """The leading directions of the training vectors, around their mean."""

    mean_D: np.ndarray
    basis_DK: np.ndarray

    def project(self, x_D: np.ndarray) -> np.ndarray:
        return (x_D - self.mean_D) @ self.basis_DK

    def restore(self, z_K: np.ndarray) -> np.ndarray:
        return z_K @ self.basis_DK.T + self.mean_D


@dataclass(frozen=True)
class _Line:
    """A ridge regression of one vector on those before it in its reading, in a space's directions."""

    weight_FK: np.ndarray
    bias_K: np.ndarray


def arrow_of_time(
    train: Windows,
    held_out: Windows,
    *,
    fit_windows: int = FIT_WINDOWS,
    scored_windows: int = SCORED_WINDOWS,
    resamples: int = 1000,
    seed: int = 0,
) -> Arrow:
    """Fits on at most `fit_windows` of the training part, scores on at most `scored_windows` of the held-out one.

    A difference's interval is its value plus and minus t times the root of two variances: over held-out documents by
    bootstrap, over training documents by a jackknife of ten groups (Efron and Stein 1981). Without the second, two
    lines fitted to noise differ "clearly", because both are scored on the same held-out documents. Where windows read
    different numbers of vectors, both lines read the last five of them (`of_one_length`).
    """
    train, held_out = of_one_length(train, held_out)
    train = sample_evenly(_both_ends_free(train), fit_windows, seed)
    held_out = sample_evenly(held_out, scored_windows, seed)
    for name, windows, least in (("training", train, GROUPS), ("held-out", held_out, DOCUMENTS_FOR_INTERVAL)):
        if not windows.documents_known:
            return Arrow("undecided", "undecided", f"of which documents the {name} windows are is not known")
        documents = len(np.unique(windows.document_W))
        if documents < least:
            return Arrow("undecided", "undecided", f"{documents} {name} documents are too few; {least} are needed")
    space = _space(train)
    moments_GMM = _moments(train, space, seed)
    penalty = _penalty(moments_GMM, train.context_length)
    scale = _Scale(held_out, space)
    total_MM = moments_GMM.sum(axis=0)
    whole = scale.score(total_MM, penalty)
    without_one = [scale.score(total_MM - group_MM, penalty) for group_MM in moments_GMM]
    numbers = means(whole, held_out.document_W, resamples=resamples, seed=seed)
    for name, (a, b) in {
        "cos_difference": ("cos_forwards", "cos_backwards"),
        "mrr_difference": ("mrr_forwards", "mrr_backwards"),
        "cos_easier": ("cos_from_before", "cos_from_after"),
        "mrr_easier": ("mrr_from_before", "mrr_from_after"),
    }.items():
        refitted = np.array([_mean(columns[a] - columns[b]) for columns in without_one])
        numbers[name] = _widen(difference(numbers[a], numbers[b]), refitted)
    return Arrow(_way(numbers["cos_difference"]), _way(numbers["cos_easier"]), None, numbers, penalty)


def turned(windows: Windows) -> Windows:
    """The same targets in a store that is read backwards: their context is what follows them, nearest last."""
    count = len(windows.vectors_ND)
    stretches_S3 = windows.stretches_S3
    return replace(
        windows,
        vectors_ND=windows.vectors_ND[::-1],
        target_row_W=count - 1 - windows.target_row_W,
        start_W=count - windows.end_W,
        end_W=count - windows.start_W,
        excluded_N=None if windows.excluded_N is None else windows.excluded_N[::-1],
        codes_N=None,
        stretches_S3=None if stretches_S3 is None else np.abs([0, count, count] - stretches_S3[:, [0, 2, 1]]),
    )


class _Scale:
    """The held-out windows, made ready once for being scored by many lines."""

    def __init__(self, windows: Windows, space: _Space) -> None:
        self.windows, self.space = windows, space
        # The same targets with a whole context on either side, so that ends of documents favour neither.
        length = windows.context_length
        self.inner = np.flatnonzero(windows.has(1 - length, 1 + length) & (not windows.isolated))
        self.after = turned(windows.select(self.inner))
        self.before_WF = _features(windows, space)
        self.after_WF = _features(self.after, space)

    def score(self, moments_MM: np.ndarray, penalty: float) -> dict[str, np.ndarray]:
        """Numbers a window of the lines that these moments of spans give, forwards and backwards."""
        length = self.windows.context_length
        forwards = _fit(moments_MM, length, penalty, backwards=False)
        backwards = _fit(moments_MM, length, penalty, backwards=True)
        columns: dict[str, np.ndarray] = {}
        for name, line in (("forwards", forwards), ("backwards", backwards)):
            columns |= self._numbers(name, line, self.before_WF, self.windows)
        inner = self._numbers("from_after", backwards, self.after_WF, self.after)
        for name, values in inner.items():
            columns[name] = np.full(len(self.windows), np.nan)
            columns[name][self.inner] = values
            same = columns[name.replace("from_after", "forwards")]
            columns[name.replace("after", "before")] = np.where(np.isnan(columns[name]), np.nan, same)
        return columns

    def _numbers(self, name: str, line: _Line, x_WF: np.ndarray, windows: Windows) -> dict[str, np.ndarray]:
        predicted_WD = self.space.restore(x_WF @ line.weight_FK + line.bias_K)
        return {
            f"cos_{name}": cosines(predicted_WD, windows.vectors(windows.target_row_W)),
            f"mrr_{name}": retrieval_scores(predicted_WD, windows)["mrr_unseen"],
        }


def _both_ends_free(windows: Windows) -> Windows:
    """Windows whose first vector may be a target too: it is the backwards line's."""
    if windows.excluded_N is None:
        return windows
    return windows.select(~windows.excluded_N[windows.rows(1 - windows.context_length)])


def _space(train: Windows) -> _Space:
    x_WD = train.vectors(train.target_row_W)
    mean_D = x_WD.mean(axis=0)
    x_WD -= mean_D
    _, basis_DD = np.linalg.eigh((x_WD.T @ x_WD).astype(np.float64))
    return _Space(mean_D, basis_DD[:, -DIRECTIONS:].astype(np.float32))


def _features(windows: Windows, space: _Space) -> np.ndarray:
    z_WLK = space.project(windows.context())
    return z_WLK.reshape(len(windows), windows.context_length * z_WLK.shape[2])


def _moments(train: Windows, space: _Space, seed: int) -> np.ndarray:
    """Products of all features of spans (and a constant), summed over each of ten groups of documents."""
    documents, number_W = np.unique(train.document_W, return_inverse=True)
    group_W = (np.random.default_rng([seed, 4]).permutation(len(documents)) % GROUPS)[number_W]
    moments = []
    for group in range(GROUPS):
        part = train.select(group_W == group)
        target_WK = space.project(part.vectors(part.target_row_W))
        span_WM = np.concatenate([_features(part, space), target_WK, np.ones((len(part), 1), np.float32)], axis=1)
        moments.append((span_WM.T @ span_WM).astype(np.float64))
    return np.stack(moments)


def _places(length: int, size: int, backwards: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the inputs (oldest first in the reading) and the output stand among a span's features."""
    blocks_SK = np.arange(size - 1).reshape(length + 1, -1)
    if backwards:
        blocks_SK = blocks_SK[::-1]
    return blocks_SK[:-1].ravel(), blocks_SK[-1]


def _fit(moments_MM: np.ndarray, length: int, penalty: float, backwards: bool) -> _Line:
    inputs, output = _places(length, len(moments_MM), backwards)
    mean_M = moments_MM[-1] / moments_MM[-1, -1]
    centred_MM = moments_MM - np.outer(mean_M, moments_MM[-1])
    gram_FF = centred_MM[np.ix_(inputs, inputs)]
    # In units of the mean variance of the features; the floor holds where they are all constant.
    gram_FF[np.diag_indices_from(gram_FF)] += max(penalty * gram_FF.trace() / len(gram_FF), 1e-12)
    weight_FK = np.linalg.solve(gram_FF, centred_MM[np.ix_(inputs, output)])
    bias_K = mean_M[output] - mean_M[inputs] @ weight_FK
    return _Line(weight_FK.astype(np.float32), bias_K.astype(np.float32))


def _penalty(moments_GMM: np.ndarray, length: int) -> float:
    """One for both lines: the least squared error on two groups of training documents, both ways together."""
    fit_MM, held_out_MM = moments_GMM[2:].sum(axis=0), moments_GMM[:2].sum(axis=0)

    def error(penalty: float) -> float:
        total = 0.0
        for backwards in (False, True):
            inputs, output = _places(length, len(fit_MM), backwards)
            line = _fit(fit_MM, length, penalty, backwards)
            # What a span and the constant are multiplied with to give the error.
            residual_MK = np.zeros((len(fit_MM), len(output)))
            residual_MK[inputs], residual_MK[output] = -line.weight_FK, np.eye(len(output))
            residual_MK[-1] = -line.bias_K
            total += float(np.sum(residual_MK * (held_out_MM @ residual_MK)))
        return total

    return min(PENALTIES, key=error)


def _widen(number: Number, refitted_G: np.ndarray) -> Number:
    """With what another draw of training documents would change; the degrees of freedom are those of the fewest."""
    fits = (len(refitted_G) - 1) * float(np.var(refitted_G))
    return replace(
        number,
        error=math.sqrt(number.error**2 + fits),
        effective=min(number.effective, float(len(refitted_G))),
    )


def _mean(values_W: np.ndarray) -> float:
    known_W = values_W[~np.isnan(values_W)]
    return float(known_W.mean()) if len(known_W) else math.nan


def _way(number: Number) -> Way:
    if number.low > 0:
        return "forwards"
    return "backwards" if number.high < 0 else "undecided"
