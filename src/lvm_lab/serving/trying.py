"""A text that is tried: its chunks as windows, and how what a model predicts fares beside the chunk that truly follows.

Shape suffixes: N chunks, W windows, L context length, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lvm_lab.data.windows import Windows
from lvm_lab.judge.bootstrap import finite, means
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.gates.offsets import OFFSETS, OffsetSweep, offset_cosines
from lvm_lab.judge.gates.retrieval import TIE, competitors
from lvm_lab.text.decoder import Decoder
from lvm_lab.text.document import Chunked
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.generation import Lengths
from lvm_lab.text.prose import folded

# Of a decoder's store so many rows are looked at for a rank.
RANKED_ROWS = 1000


@dataclass(frozen=True)
class Rank:
    """Of the true next chunk, from 1. of: how many candidates there are, itself among them. unread, unread_of: the same
    without what the model has read. None: further behind than was looked, or not counted."""

    rank: int | None
    of: int
    unread: int | None
    unread_of: int | None = None


@dataclass(frozen=True)
class Trial:
    """A text with one chunk held out. windows: all that the text has, with contexts of one vector or more. place: of
    the held-out chunk among them. whole_W: those with all neighbours of the offset curve that are read as in training.
    """

    texts: tuple[str, ...]
    target: int
    windows: Windows
    place: int
    whole_W: np.ndarray

    @property
    def read(self) -> range:
        """The chunks that are read, counted from 0."""
        return range(self.target - int(self.windows.length_W[self.place]), self.target)

    @property
    def contexts(self) -> list[np.ndarray]:
        """What the model reads, L x D each: first for the held-out chunk, then for each whole window."""
        rows = [self.windows.target_row_W[self.place], *self.windows.target_row_W[self.whole_W]]
        lengths = [self.windows.length_W[self.place], *self.windows.length_W[self.whole_W]]
        return [self.windows.vectors_ND[row - length : row] for row, length in zip(rows, lengths, strict=True)]

    def known(self, text: str) -> str | None:
        """Whether a text is the `target`, or has been `read`, but for blanks and case."""
        if folded(text) == folded(self.texts[self.target]):
            return "target"
        return "read" if folded(text) in {folded(self.texts[place]) for place in self.read} else None


def encoded(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """vectors_ND, equal for equal texts: in one batch with others an encoder may round them differently."""
    different = list(dict.fromkeys(texts))
    vectors = encoder.encode(different)
    return vectors[[different.index(text) for text in texts]]


def trial(chunked: Chunked, vectors_ND: np.ndarray, target: int, trained: Lengths) -> Trial | None:
    """target: the chunk that is held out, counted from 0; None where its stretch has nothing before it."""
    end_S = np.cumsum(chunked.lengths)
    start_S = end_S - chunked.lengths
    start_N, end_N = np.repeat(start_S, chunked.lengths), np.repeat(end_S, chunked.lengths)
    target_row_W = np.flatnonzero(np.arange(len(start_N)) > start_N)
    windows = Windows(
        vectors_ND,
        target_row_W,
        np.zeros_like(target_row_W),
        start_N[target_row_W],
        end_N[target_row_W],
        trained.most,
        stretches_S3=np.stack([np.zeros_like(start_S), start_S, end_S], axis=1),
    )
    place = np.flatnonzero(target_row_W == target)
    if not len(place):
        return None
    whole_W = np.flatnonzero((windows.length_W >= trained.least) & windows.has(OFFSETS[0], OFFSETS[-1]))
    return Trial(chunked.texts, target, windows, int(place[0]), whole_W)


def rank_in_text(trial: Trial, unit_D: np.ndarray) -> Rank:
    """Among the different chunks of the text, as gate B counts them."""
    one = competitors(unit_D[None], trial.windows.select(slice(trial.place, trial.place + 1)))
    return Rank(
        int(one.above_B[0]) + 1,
        int(one.rivals_B[0]) + 1,
        int(one.unseen_above_B[0]) + 1,
        int(one.unseen_rivals_B[0]) + 1,
    )


def rank_of_decoder(trial: Trial, raw_D: np.ndarray, decoder: Decoder) -> Rank | None:
    """Among the texts that the decoder chooses from; None where it chooses from none."""
    text = trial.texts[trial.target]
    score = float(cosines(raw_D, trial.windows.vectors_ND[trial.target]))
    rivals = decoder.rivals(raw_D, text, score - TIE, RANKED_ROWS)
    if rivals is None:
        return None
    known = [trial.known(one) for one in rivals.texts]
    if not rivals.whole:
        return Rank(None, rivals.size, None)
    return Rank(1 + len(known) - known.count("target"), rivals.size, 1 + known.count(None))


def curve(trial: Trial, unit_WD: np.ndarray) -> dict[str, Any]:
    """The offset curve of the one prediction, as far as the text goes, and its mean over the text's whole windows with
    gate A's margin. unit_WD: predictions of `Trial.contexts`."""
    whole = trial.windows.select(trial.whole_W)
    numbers = means(offset_cosines(unit_WD[1:], whole), whole.document_W, resamples=0) if len(whole) else {}
    names = [f"k{k:+d}" for k in OFFSETS]
    derived = OffsetSweep().derive(numbers) if numbers else {}
    return {
        "k": list(OFFSETS),
        "prediction": [_cosine(trial, unit_WD[0], k) for k in OFFSETS],
        "text": [finite(numbers[name].value) for name in names] if numbers else None,
        "windows": len(whole),
        "margin": finite(derived["margin"].value) if derived else None,
    }


def _cosine(trial: Trial, unit_D: np.ndarray, k: int) -> float | None:
    """Of a prediction and the chunk at offset k; None where that is of no chunk of its stretch."""
    if not trial.windows.has(k, k)[trial.place]:
        return None
    return finite(float(cosines(unit_D, trial.windows.vectors_ND[trial.target - 1 + k])))


def decoded(trial: Trial, raw_D: np.ndarray, decoder: Decoder, count: int) -> dict[str, Any]:
    """The candidates for the next chunk, and how the true one ranks among all that the decoder has."""
    (candidates,) = decoder.decode(raw_D[None])
    rank = rank_of_decoder(trial, raw_D, decoder)
    shown = [
        {"text": one.text, "score": round(one.score, 6), "row": one.row, "known": trial.known(one.text)}
        for one in candidates[:count]
    ]
    return {"candidates": shown, "rank": None if rank is None else asdict(rank)}
