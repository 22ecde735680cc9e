"""Segments: stretches of documents cut for training, each supervised at many places.

Shape suffixes: W windows, S segments, P rows of the longest segment, N supervised targets, M candidates a segment,
R runs of targets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from torch.utils.data import Sampler

from lvm_lab.data.sampler import FixedBatches, count_batches, diverse_batches, weighed
from lvm_lab.data.windows import Windows, even_sample, stripes


@dataclass(frozen=True)
class Segments:
    """Rows that are read at once, and what is supervised in them. Nothing is copied from the store.

    windows: a part's, by ascending target row: one window a supervised target.
    first_S: a segment's first row. window_S, count_S: its targets are those of the windows from number `window` on, so
        many; a segment ends with the last of them.
    """

    windows: Windows
    first_S: np.ndarray
    window_S: np.ndarray
    count_S: np.ndarray

    def __len__(self) -> int:
        return len(self.first_S)

    @property
    def end_S(self) -> np.ndarray:
        """The row behind each segment's last."""
        end_S: np.ndarray = self.windows.target_row_W[self.window_S + self.count_S - 1] + 1
        return end_S

    @property
    def document_S(self) -> np.ndarray:
        """The number of each segment's document."""
        return self.windows.document_W[self.window_S]

    @property
    def segment_N(self) -> np.ndarray:
        """Which segment each target is of."""
        return np.repeat(np.arange(len(self)), self.count_S)

    @property
    def window_N(self) -> np.ndarray:
        """The window of each target, segment by segment."""
        before_S = np.cumsum(self.count_S) - self.count_S
        return np.arange(self.count_S.sum()) + np.repeat(self.window_S - before_S, self.count_S)

    def select(self, positions: np.ndarray | slice) -> Segments:
        """The segments at the given positions, in that order."""
        first_S, window_S, count_S = (x[positions] for x in (self.first_S, self.window_S, self.count_S))
        return replace(self, first_S=first_S, window_S=window_S, count_S=count_S)

    def rows_SP(self) -> np.ndarray:
        """Each segment's rows, padded on the right with its last one."""
        length_S = self.end_S - self.first_S
        rows_SP: np.ndarray = self.first_S[:, None] + np.arange(length_S.max())
        return np.minimum(rows_SP, self.end_S[:, None] - 1)

    def candidate_rows(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """rows_SM of each segment's stretch, its own rows among them, and which are real: see `stripes`."""
        start_S, end_S = self.windows.start_W[self.window_S], self.windows.end_W[self.window_S]
        pick_SM, real_SM = stripes(end_S - start_S, count, rng)
        return start_S[:, None] + pick_SM, real_SM


class Cuts:
    """A part's windows, ready to be cut into segments of up to context_length + 1 rows in which every target stands
    once and has read at least `shortest` vectors.

    A segment of L + 1 rows supervises its last L + 1 - shortest; the next one reads the last `shortest` rows of it
    again. The windows of a stretch are cut as one run, or as several where a segment's worth of rows between two
    targets is supervised nowhere, so that no segment is without a target.
    """

    def __init__(self, windows: Windows, shortest: int) -> None:
        self.windows = windows.select(np.argsort(windows.target_row_W, kind="stable"))
        self.shortest = shortest
        self.step = windows.context_length + 1 - shortest
        target_W, start_W = self.windows.target_row_W, self.windows.start_W
        assert (target_W - start_W >= shortest).all(), "a window has read fewer vectors than the shortest may"
        new_W = (np.diff(start_W, prepend=-1) != 0) | (np.diff(target_W, prepend=-1) > self.step)
        self.run_W = np.cumsum(new_W) - 1
        self.begin_R = target_W[new_W]
        last_R = target_W[np.append(np.flatnonzero(new_W)[1:], len(target_W)) - 1]
        self.span_R = last_R - self.begin_R + 1

    def segments(self, rng: np.random.Generator | None = None) -> Segments:
        """All segments: with a phase drawn for each run that does not fit into one segment, or without any."""
        phase_R = np.zeros_like(self.span_R) if rng is None else self._phases(rng)
        target_W, step = self.windows.target_row_W, self.step
        block_W = (target_W - self.begin_R[self.run_W] + phase_R[self.run_W]) // step
        new_W = (np.diff(self.run_W, prepend=-1) != 0) | (np.diff(block_W, prepend=-1) != 0)
        window_S = np.flatnonzero(new_W)
        run_S = self.run_W[window_S]
        skipped_S = np.maximum(block_W[window_S] * step - phase_R[run_S], 0)
        return Segments(
            self.windows,
            first_S=self.begin_R[run_S] - self.shortest + skipped_S,
            window_S=window_S,
            count_S=np.diff(window_S, append=len(target_W)),
        )

    def _phases(self, rng: np.random.Generator) -> np.ndarray:
        """How many targets fewer than it could the first segment of each run has.

        Of the phases that give a run one and the same number of segments, half a segment at least, so that every epoch
        has as many batches; a run of one segment stays whole.
        """
        step = self.step
        count_R = np.where(self.span_R <= step, 1, -(-(self.span_R + step // 2) // step))
        slack_R = count_R * step - self.span_R
        phase_R = rng.integers(np.maximum(0, slack_R - step + 1), np.minimum(slack_R, step - 1) + 1)
        return np.where(count_R == 1, 0, phase_R)


@dataclass(frozen=True)
class SegmentDraw:
    """One global batch of segments, and the seed of whatever else is drawn for it."""

    segments: Segments
    seed: tuple[int, ...]


class SegmentSampler(Sampler[SegmentDraw]):
    """Yields each epoch's global batches of segments, a function of (seed, epoch) alone; Lightning calls `set_epoch`.

    Document-diverse as `DiverseBatches` are, with at most `max_per_doc` segments of a document in a batch.
    weight_W: of the windows of `cuts`, in their order; see `Mix`. targets: how many targets the epoch that was begun
    last supervises.
    """

    def __init__(
        self, cuts: Cuts, batch_size: int, max_per_doc: int, seed: int, weight_W: np.ndarray | None = None
    ) -> None:
        self.cuts, self.batch_size, self.max_per_doc, self.seed = cuts, batch_size, max_per_doc, seed
        self.epoch = 0
        self.targets = 0
        segments = self._cut()
        document_S = segments.document_S
        # Every epoch cuts a document into as many segments.
        self.mix = weighed(None if weight_W is None else weight_W[segments.window_S], document_S)
        document_S = document_S if self.mix is None else self.mix.document_W
        self.segments = len(document_S)
        self.length = count_batches(document_S, batch_size, max_per_doc, "segments")

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[SegmentDraw]:
        segments = self._cut()
        if self.mix is not None:
            segments = segments.select(self.mix.positions(self.seed, self.epoch))
        batches = diverse_batches(segments.document_S, self.batch_size, self.max_per_doc, self.seed, self.epoch)
        self.targets = int(segments.count_S[batches].sum())
        for number, batch in enumerate(batches):
            yield SegmentDraw(segments.select(batch), (self.seed, self.epoch, number))

    def _cut(self) -> Segments:
        # Apart from the stream that the batches are drawn from.
        return self.cuts.segments(
            np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch], spawn_key=(1,)))
        )


def fixed_draws(windows: Windows, shortest: int, at_most: int, batch_size: int, seed: int) -> list[SegmentDraw]:
    """The same batches of segments every time: at most so many, evenly of all documents, which begin where these do."""
    segments = Cuts(windows, shortest).segments()
    segments = segments.select(even_sample(segments.document_S, at_most, seed))
    batches = FixedBatches(len(segments), batch_size, seed)
    return [SegmentDraw(segments.select(draw.positions), draw.seed) for draw in batches]
