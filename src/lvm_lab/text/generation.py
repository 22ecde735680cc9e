"""Text to text through vectors: chunks in, a predicted vector, a text for it, and on from there.

Shape suffixes: L chunks of the context, D vector dim.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lvm_lab.errors import UserError
from lvm_lab.text.choosing import Choice, best
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.decoder import Candidate, Decoder
from lvm_lab.text.document import Document
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.prose import folded, paragraphs
from lvm_lab.text.smoother import Smoother, smoothed

Mode = Literal["vectors", "reencode", "snap"]
Stop = Literal["repetition", "end"]
BEFORE_REPEATING: tuple[Stop, ...] = ("repetition",)
# What a text goes through, in order.
STAGES = ("chunk", "encode", "model", "decode", "smooth")


@dataclass(frozen=True)
class Lengths:
    """How many vectors a model reads: at least, and at most."""

    least: int
    most: int


@dataclass
class Clock:
    """Seconds of each stage, a number a call."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)


@dataclass(frozen=True)
class Generation:
    """What came of a text. chunks: how many it was cut into; read: those that the model read first, oldest first.
    written: each step's candidate. repeats: the text before which it stopped, since it stands there already; ended:
    whether it stopped behind a text that ends its document. smoothed: what a smoother made of the texts written; None:
    nothing. seconds: by stage, each call's."""

    chunks: int
    read: list[str]
    written: list[Candidate]
    repeats: str | None
    seconds: dict[str, list[float]]
    ended: bool = False
    smoothed: list[str] | None = None


@dataclass(frozen=True)
class Writer:
    """predict: context_LD to (raw_D, what is fed back of it). lengths: of contexts that it may be asked of. choose:
    which candidate is written. smoother: what puts the texts in better words at the end; what is fed back is the
    decoder's."""

    chunker: Chunker
    encoder: Encoder
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    lengths: Lengths
    decoder: Decoder
    choose: Choice = best
    smoother: Smoother | None = None

    def write(
        self, text: str, steps: int, mode: Mode = "vectors", stop: Collection[Stop] = BEFORE_REPEATING
    ) -> Generation:
        """At most so many chunks that follow a text.

        mode: what stands behind the context for the next step: the prediction itself, the vector that the encoder makes
        of its text, or the one that the store has of the chunk whose text it is. stop: before a text that was read or
        written already, behind one that ends its document. Raises UserError for a text of too few chunks, a prediction
        that is not finite, and snap with a text of no store.
        """
        writing, written = self.begin(text), list[Candidate]()
        while len(written) < steps and (candidate := writing.next(mode, stop)) is not None:
            written.append(candidate)
        return Generation(
            writing.chunks,
            writing.read,
            written,
            writing.repeats,
            writing.clock.seconds,
            writing.ended,
            smoothed=self._smoothed(written, writing.clock),
        )

    def begin(self, text: str) -> Writing:
        """A generation that goes on chunk by chunk."""
        clock = Clock()
        with clock.stage("chunk"):
            chunks = self._chunks(text)
        read = chunks[-self.lengths.most :]
        with clock.stage("encode"):
            context_LD = self.encoder.encode(read)
        return Writing(self, len(chunks), read, clock, context_LD, {folded(chunk) for chunk in read})

    def _smoothed(self, written: list[Candidate], clock: Clock) -> list[str] | None:
        if self.smoother is None or not written:
            return None
        with clock.stage("smooth"):
            return smoothed(self.smoother, [one.text for one in written])

    def _chunks(self, text: str) -> list[str]:
        own = paragraphs(text)
        if not own:
            raise UserError("the text is empty; give some to go on from.")
        (chunked,) = self.chunker.chunk([Document("text", "", "generate", own)], self.encoder.encode)
        if len(chunked.texts) < self.lengths.least:
            count = len(chunked.texts)
            raise UserError(
                f"the text makes {count} chunk{'' if count == 1 else 's'} and the model reads {self.lengths.least} or "
                "more; give a longer one, or choose a chunker of shorter chunks with chunker=..."
            )
        return list(chunked.texts)


@dataclass
class Writing:
    """One generation at work. repeats, ended: as of a Generation."""

    writer: Writer
    chunks: int
    read: list[str]
    clock: Clock
    context_LD: np.ndarray
    known: set[str]
    repeats: str | None = None
    ended: bool = False

    def next(self, mode: Mode, stop: Collection[Stop]) -> Candidate | None:
        """The next chunk, which the one after it follows; None where it stops. Raises UserError as `Writer.write`."""
        if self.ended:
            return None
        writer = self.writer
        with self.clock.stage("model"):
            raw_D, fed_D = writer.predict(self.context_LD)
        if not np.isfinite(raw_D).all():
            raise UserError("the model predicts what is not finite; take another checkpoint, or a lower temperature.")
        with self.clock.stage("decode"):
            one = writer.choose(writer.decoder.decode(raw_D[None])[0])
        if "repetition" in stop and folded(one.text) in self.known:
            self.repeats = one.text
            return None
        self.known.add(folded(one.text))
        self.ended = "end" in stop and writer.decoder.ends(one)
        if self.ended:
            return one
        if mode == "reencode":
            with self.clock.stage("encode"):
                fed_D = writer.encoder.encode([one.text])[0]
        elif mode == "snap":
            fed_D = self._snapped(one)
        self.context_LD = np.concatenate([self.context_LD, fed_D[None]])[-writer.lengths.most :]
        return one

    def _snapped(self, candidate: Candidate) -> np.ndarray:
        at_rest_D = self.writer.decoder.at_rest(candidate)
        if at_rest_D is None:
            raise UserError("mode=snap feeds back chunks of a store, and this text is of none; take decoder=retrieval.")
        return at_rest_D


def totals(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """By stage: its calls, their sum and their mean in seconds."""
    return {
        stage: {"calls": len(own), "total": sum(own), "mean": sum(own) / len(own)}
        for stage in STAGES
        if (own := seconds.get(stage))
    }
