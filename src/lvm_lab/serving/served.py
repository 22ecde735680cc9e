"""A model as the server has it, with what makes vectors of texts and texts of vectors for it.

Shape suffixes: L context length, D vector dim.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lvm_lab.data.contract import EncoderContract
from lvm_lab.serving.batcher import Batcher
from lvm_lab.serving.refusal import Refusal
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.coder import Coder, Table
from lvm_lab.text.decoder import Decoder
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.generation import Lengths
from lvm_lab.text.prose import paragraphs

T = TypeVar("T")


@dataclass(frozen=True)
class Absent:
    """Why there is no such part, as a sentence with the way out."""

    reason: str


@dataclass(frozen=True)
class Texts:
    """What a model's texts go through. table: of the names that the coder's codes mean."""

    encoder: Encoder | Absent
    chunker: Chunker | Absent
    decoder: Decoder | Absent
    coder: Coder | Absent
    table: Table = field(default_factory=dict)

    def part(self, name: str) -> Any:
        """Raises Refusal where it is absent."""
        one = getattr(self, name)
        if isinstance(one, Absent):
            raise Refusal(409, one.reason)
        return one

    def cut(self, text: str) -> Chunked:
        """A text as the documents of the model's data were cut. Raises Refusal."""
        chunker, own = self.part("chunker"), paragraphs(text)
        if not own:
            raise Refusal(422, "the text is empty; send some.")
        # Some chunkers look at vectors, and need no encoder otherwise.
        (chunked,) = chunker.chunk(
            [Document("text", "", "serve", own)], lambda texts: self.part("encoder").encode(texts)
        )
        one: Chunked = chunked
        return one


@dataclass(frozen=True)
class Facts:
    """What is told of a model. version: of a registry, or "". width: of a row that it reads, with the columns of its
    TMD code where it reads codes. context_length: vectors that it reads at most; trained: how many its training had.
    engine: what computes its predictions; engine_reason: why that one."""

    name: str
    version: str
    path: str
    arch: str
    params: int
    dim: int
    width: int
    context_length: int
    trained: Lengths
    contract: EncoderContract
    engine: str
    engine_reason: str

    @property
    def reads_codes(self) -> bool:
        return self.width > self.dim


class Served:
    """One version of a model, for as long as a request holds it.

    Texts are worked on one request after the other in a thread of the model's own, since encoders are not made for
    several. texts_waiting: requests that may wait for it.
    """

    def __init__(self, facts: Facts, batcher: Batcher, texts: Texts, texts_waiting: int) -> None:
        self.facts, self.batcher, self.texts = facts, batcher, texts
        self._text_thread = ThreadPoolExecutor(1, thread_name_prefix=f"texts of {facts.name}")
        self._most, self._waiting = texts_waiting, 0
        self._holders, self._retired = 0, False
        self._lock = threading.Lock()

    async def with_texts(self, work: Callable[[], T]) -> T:
        """What `work` returns, off the event loop. Raises Refusal where too many wait."""
        with self._lock:
            if self._waiting >= self._most:
                raise Refusal(503, "texts have to wait for too many others; ask again in a second.")
            self._waiting += 1
        self.hold()

        def counted() -> T:
            try:
                return work()
            finally:
                self._done_with_texts()

        future = self._text_thread.submit(counted)
        # One that was given up before its turn never comes to count itself down.
        future.add_done_callback(lambda done: self._done_with_texts() if done.cancelled() else None)
        return await asyncio.wrap_future(future)

    def _done_with_texts(self) -> None:
        with self._lock:
            self._waiting -= 1
        self.release()

    def hold(self) -> None:
        with self._lock:
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            last = self._retired and self._holders == 0
        if last:
            self._close()

    def retire(self) -> None:
        """Its threads end once nobody holds it."""
        with self._lock:
            self._retired = True
            last = self._holders == 0
        if last:
            self._close()

    def _close(self) -> None:
        # Of a thread of its own: the last to let go may be one of those that are waited for.
        threading.Thread(target=self.close, daemon=True).start()

    def close(self) -> None:
        """Returns when all that waits was answered."""
        self._text_thread.shutdown(wait=True)
        self.batcher.close()
