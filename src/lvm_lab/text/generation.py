"""Text to text through vectors: chunks in, a predicted vector, a text for it, and on from there.

Shape suffixes: L chunks of the context, D vector dim.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.decoder import Candidate, Decoder
from lvm_lab.text.document import Document
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.prose import paragraphs

Mode = Literal["vectors", "reencode", "snap"]
Stop = Literal["repetition", "none"]
# What a step goes through, in order.
STAGES = ("chunk", "encode", "model", "decode")


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
    written: the best candidate of each step. repeats: the text at which it stopped, since it stands there already.
    seconds: by stage, each call's."""

    chunks: int
    read: list[str]
    written: list[Candidate]
    repeats: str | None
    seconds: dict[str, list[float]]


# Of a step's candidates, the best first, the one that is written.
Choose = Callable[[list[Candidate]], Candidate]


def best(candidates: list[Candidate]) -> Candidate:
    return candidates[0]


@dataclass(frozen=True)
class Writer:
    """predict: context_LD to (raw_D, what is fed back of it). lengths: of contexts that it may be asked of."""

    chunker: Chunker
    encoder: Encoder
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    lengths: Lengths
    decoder: Decoder

    def write(self, text: str, steps: int, mode: Mode = "vectors", stop: Stop = "repetition") -> Generation:
        """At most so many chunks that follow a text.

        mode: what stands behind the context for the next step: the prediction itself, the vector that the encoder makes
        of its text, or the one that the store has of the chunk whose text it is. Raises UserError for a text of too few
        chunks, a prediction that is not finite, and snap with a text of no store.
        """
        writing = self.begin(text)
        written: list[Candidate] = []
        while len(written) < steps and (candidate := writing.next(mode, stop)) is not None:
            written.append(candidate)
        return Generation(writing.chunks, writing.read, written, writing.repeats, writing.clock.seconds)

    def begin(self, text: str, choose: Choose = best) -> Writing:
        """A generation that goes on chunk by chunk. choose: of a step's candidates."""
        clock = Clock()
        with clock.stage("chunk"):
            chunks = self._chunks(text)
        read = chunks[-self.lengths.most :]
        with clock.stage("encode"):
            context_LD = self.encoder.encode(read)
        return Writing(self, choose, len(chunks), read, clock, context_LD, {_plain(chunk) for chunk in read})

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
    """One generation at work. repeats: the text at which it stopped, since it stands there already."""

    writer: Writer
    choose: Choose
    chunks: int
    read: list[str]
    clock: Clock
    context_LD: np.ndarray
    known: set[str]
    repeats: str | None = None

    def next(self, mode: Mode, stop: Stop) -> Candidate | None:
        """The next chunk, which the one after it follows; None where it stops."""
        writer = self.writer
        with self.clock.stage("model"):
            raw_D, fed_D = writer.predict(self.context_LD)
        if not np.isfinite(raw_D).all():
            raise UserError("the model predicts what is not finite; take another checkpoint.")
        with self.clock.stage("decode"):
            candidate = self.choose(writer.decoder.decode(raw_D[None])[0])
        if stop == "repetition" and _plain(candidate.text) in self.known:
            self.repeats = candidate.text
            return None
        self.known.add(_plain(candidate.text))
        if mode == "reencode":
            with self.clock.stage("encode"):
                fed_D = writer.encoder.encode([candidate.text])[0]
        elif mode == "snap":
            fed_D = self._snapped(candidate)
        self.context_LD = np.concatenate([self.context_LD, fed_D[None]])[-writer.lengths.most :]
        return candidate

    def _snapped(self, candidate: Candidate) -> np.ndarray:
        at_rest_D = self.writer.decoder.at_rest(candidate)
        if at_rest_D is None:
            raise UserError("mode=snap feeds back chunks of a store, and this text is of none; take decoder=retrieval.")
        return at_rest_D


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def totals(seconds: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """By stage: its calls, their sum and their mean in seconds."""
    return {
        stage: {"calls": len(own), "total": sum(own), "mean": sum(own) / len(own)}
        for stage in STAGES
        if (own := seconds.get(stage))
    }
