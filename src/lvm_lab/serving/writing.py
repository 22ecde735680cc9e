"""Text to text in a server: chunks as they are written, by a thread of the model, with its batches of contexts.

Shape suffixes: L context length, D vector dim.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lvm_lab.serving.bodies import Message
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.served import Served
from lvm_lab.text.choosing import Choice
from lvm_lab.text.generation import BEFORE_REPEATING, Writer, Writing

# Instructions are no part of the text that goes on.
UNREAD = ("system", "developer")


@dataclass(frozen=True)
class Chunk:
    """text: one chunk, whose decoder gave it that score. tokens: as the encoder counts them."""

    text: str
    score: float
    tokens: int


@dataclass
class Order:
    """What to write. most_tokens: no further chunk once so many are written; None: no such end."""

    text: str
    steps: int
    choose: Choice
    most_tokens: int | None = None
    prompt_tokens: int = 0


def joined(messages: Sequence[str | Message]) -> str:
    """The messages as one text, a paragraph or more each. Raises Refusal for parts that are no text."""
    return "\n\n".join(_text(one) for one in messages if isinstance(one, str) or one.role not in UNREAD)


def _text(message: str | Message) -> str:
    if isinstance(message, str):
        return message
    if isinstance(message.content, str):
        return message.content
    texts = [part.get("text") for part in message.content if part.get("type") == "text"]
    if len(texts) != len(message.content) or not all(isinstance(text, str) for text in texts):
        raise Refusal(422, "a message has parts that are no text; send text alone.")
    return " ".join(map(str, texts))


def writer(served: Served, choose: Choice) -> Writer:
    """Raises Refusal where a part is absent."""
    facts, texts = served.facts, served.texts
    if facts.reads_codes:
        raise Refusal(
            409, f"{facts.name} reads TMD codes, which a text that is written has none of; ask another model."
        )
    return Writer(
        texts.part("chunker"), texts.part("encoder"), _predictor(served), facts.trained, texts.part("decoder"), choose
    )


def _predictor(served: Served) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """As `jobs.generation` has it, among the contexts of others."""

    def predicted(context_LD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (future,) = served.batcher.submit([context_LD])
        raw_SD, unit_SD = future.result()
        return raw_SD[0], (unit_SD if served.facts.contract.normalised else raw_SD)[0]

    return predicted


async def chunks(served: Served, order: Order) -> AsyncGenerator[Chunk, None]:
    """Each as soon as it is written. Who stops asking stops the writing."""
    hand, loop = writer(served, order.choose), asyncio.get_running_loop()
    queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
    left = threading.Event()

    def put(chunk: Chunk | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
            loop.call_soon_threadsafe(queue.put_nowait, chunk)

    def work() -> None:
        try:
            writing = hand.begin(order.text)
            order.prompt_tokens = int(hand.encoder.tokens(writing.read).sum())
            _write(writing, order, put, left)
        finally:
            put(None)

    task = asyncio.ensure_future(served.with_texts(work))
    # Where it never begins, nothing in the thread says that it has ended.
    task.add_done_callback(lambda done: queue.put_nowait(None))
    try:
        while (chunk := await queue.get()) is not None:
            yield chunk
        await task
    finally:
        left.set()
        task.cancel()


def _write(writing: Writing, order: Order, put: Callable[[Chunk], None], left: threading.Event) -> None:
    encoder, tokens = writing.writer.encoder, 0
    for _ in range(order.steps):
        if left.is_set() or (candidate := writing.next("vectors", BEFORE_REPEATING)) is None:
            return
        own = int(encoder.tokens([candidate.text])[0])
        if tokens and order.most_tokens is not None and tokens + own > order.most_tokens:
            return
        tokens += own
        put(Chunk(candidate.text, candidate.score, own))
