"""Predictors on whole passages: chunks to vectors, a prediction, a decoded text, with a number for every stage.

Shape suffixes: W windows, M rows of a store, D vector dim, L chunks of a context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import Number, means, p_value, paired_difference
from lvm_lab.judge.comparison import Paired, holm
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.scoring.comparison import Tested
from lvm_lab.text.decoder import Decoder, cosines
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.prose import folded
from lvm_lab.text.similarity import Likeness, likeness
from lvm_lab.text.smoother import Smoother, smoothed

CHANCE = "chance_"


@dataclass(frozen=True)
class Encoded:
    """Chunks' vectors, made anew of their texts. rows_M: of the store, ascending. cosine_M: to the store's own."""

    rows_M: np.ndarray
    vectors_MD: np.ndarray
    cosine_M: np.ndarray

    @classmethod
    def of(cls, windows: Windows, encoder: Encoder, texts: Sequence[str]) -> Encoded:
        """All that the windows read, and their targets. texts: by row of the store."""
        rows_M = np.unique(np.concatenate([windows.context_rows().ravel(), windows.target_row_W]))
        made_MD = encoder.encode([texts[row] for row in rows_M.tolist()])
        return cls(rows_M, made_MD, cosines(made_MD, windows.vectors(rows_M)))

    def windows(self, some: Windows) -> Windows:
        """The same windows over these vectors; a window's rows follow each other here too."""
        target_W = np.searchsorted(self.rows_M, some.target_row_W)
        return replace(
            some,
            vectors_ND=self.vectors_MD,
            target_row_W=target_W,
            start_W=target_W - some.length_W,
            end_W=target_W + 1,
            codes_N=None if some.codes_N is None else some.codes_N[self.rows_M],
            excluded_N=None,
            text_N=None,
            stretches_S3=None,
            seen_N=None,
        )

    def of_windows(self, windows: Windows) -> np.ndarray:
        """(W,) the mean cosine of each window's context and target to the store's vectors."""
        rows = [
            np.append(row_L, target) for row_L, target in zip(windows.context_rows(), windows.target_row_W, strict=True)
        ]
        return np.array([self.cosine_M[np.searchsorted(self.rows_M, np.unique(some))].mean() for some in rows])


@dataclass(frozen=True)
class Passages:
    """What all predictors are measured on: windows of the longest reader, over the store's vectors, and texts by row
    of that store.

    Left out as candidates are the chunks that a window reads, and their copies, but for copies of the target.
    """

    windows: Windows
    texts: Sequence[str]
    decoder: Decoder
    encoder: Encoder
    smoother: Smoother | None = None
    resamples: int = 1000
    seed: int = 0

    @property
    def targets(self) -> list[str]:
        return [self.texts[row] for row in self.windows.target_row_W.tolist()]

    @property
    def read(self) -> list[list[str]]:
        """The chunks of each context, oldest first."""
        spans = zip(self.windows.target_row_W.tolist(), self.windows.length_W.tolist(), strict=True)
        return [[self.texts[row] for row in range(target - length, target)] for target, length in spans]

    def numbers(self, columns: Mapping[str, np.ndarray]) -> dict[str, Number]:
        """Means over windows with their intervals over documents."""
        return means(columns, self.windows.resampled_W, resamples=self.resamples, seed=self.seed)

    def measure(self, raw_WD: np.ndarray, unit_WD: np.ndarray) -> Passage:
        """What becomes of the predictions for these windows."""
        target_WD = self.windows.vectors(self.windows.target_row_W)
        texts, nearest = self._decoded(raw_WD)
        decoded_WD = self.encoder.encode(texts)
        columns = {
            "prediction": cosines(raw_WD, target_WD),
            "round_trip": cosines(decoded_WD, raw_WD),
            "decoded": cosines(decoded_WD, target_WD),
        }
        columns |= nearest
        better = None if self.smoother is None else smoothed(self.smoother, texts)
        if better is not None:
            smoothed_WD = self.encoder.encode(better)
            columns["smoothed_to_decoded"] = cosines(smoothed_WD, decoded_WD)
            columns["smoothed_to_truth"] = cosines(smoothed_WD, target_WD)
        columns |= store_scores(unit_WD, self.windows)
        alike = likeness(texts, self.targets)
        return Passage(columns | alike.by_pair, texts, better, alike)

    def _decoded(self, raw_WD: np.ndarray) -> tuple[list[str], dict[str, np.ndarray]]:
        """The best text of each window that it has not read; and of the best with nothing left out, whether it has
        been read (copied) and whether it is the target (exact_nearest)."""
        texts, copied, exact = [], [], []
        rows = zip(self.decoder.decode(raw_WD), self.read, self.targets, strict=True)
        for candidates, read, target in rows:
            known = {folded(text) for text in read} - {folded(target)}
            new = (one.text for one in candidates if folded(one.text) not in known)
            # A decoder that writes may have nothing else.
            texts.append(next(new, candidates[0].text))
            copied.append(folded(candidates[0].text) in known)
            exact.append(candidates[0].text.split() == target.split())
        return texts, {"copied": np.array(copied, np.float64), "exact_nearest": np.array(exact, np.float64)}


@dataclass(frozen=True)
class Passage:
    """One predictor's way through all windows. columns: each number by window. smoothed: where there is a smoother."""

    columns: dict[str, np.ndarray]
    texts: list[str]
    smoothed: list[str] | None
    likeness: Likeness = field(repr=False)

    def of_window(self, place: int) -> dict[str, Any]:
        """Its text and its numbers at one window."""
        numbers = {name: float(x_W[place]) for name, x_W in self.columns.items() if not name.startswith(CHANCE)}
        finite = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
        return {"text": self.texts[place]} | ({"smoothed": self.smoothed[place]} if self.smoothed else {}) | finite


def against(first: Passage, others: Mapping[str, Passage], passages: Passages) -> dict[str, dict[str, Tested]]:
    """By name and number: each other predictor less the first, paired by window, with intervals over documents and
    p-values that are corrected for how many are compared (Holm)."""
    document_W = passages.windows.resampled_W
    # A smoother may have answered for some alone.
    shared = [
        number
        for number in first.columns
        if not number.startswith(CHANCE) and all(number in other.columns for other in others.values())
    ]
    tests = {
        name: {number: _tested(other.columns[number], first.columns[number], document_W, passages) for number in shared}
        for name, other in others.items()
    }
    corrected = {
        number: holm({name: by_number[number].p for name, by_number in tests.items()})
        for number in (next(iter(tests.values())) if tests else {})
    }
    return {
        name: {number: Tested(test, corrected[number][name]) for number, test in by_number.items()}
        for name, by_number in tests.items()
    }


def _tested(mine_W: np.ndarray, first_W: np.ndarray, document_W: np.ndarray, passages: Passages) -> Paired:
    difference = paired_difference(mine_W, first_W, document_W, resamples=passages.resamples, seed=passages.seed)
    return Paired(difference, p_value(difference))
