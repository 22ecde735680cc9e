"""`/chat`, and `/v1` as OpenAI's clients ask it: chat completions, embeddings, models."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from lvm_lab.errors import UserError
from lvm_lab.serving import refusal
from lvm_lab.serving.bodies import ChatBody, CompletionBody, EmbeddingsBody
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.routes.limiting import check_steps, check_texts
from lvm_lab.serving.served import Served
from lvm_lab.serving.state import Serving, State
from lvm_lab.serving.writing import Chunk, Order, chunks, joined
from lvm_lab.text.choosing import best, sampled
from lvm_lab.text.encoder import Encoder

router = APIRouter(tags=["chat"])
OWNER = "lvm_lab"


@router.post("/chat", summary="Write on from messages")
async def chat(body: ChatBody, state: Serving, request: Request) -> JSONResponse:
    """The text that follows the messages, chunk by chunk through vectors: what the model predicts is decoded and read
    as its next context. `finish`: `steps`, or `repetition` before a text that stands there already."""
    with state.models.held(body.model) as served:
        order = _order(state, served, body)
        written = await _written(request, served, order)
    content = {
        "model": served.facts.name,
        "version": served.facts.version,
        "text": " ".join(chunk.text for chunk in written),
        "chunks": [{"text": chunk.text, "score": round(chunk.score, 6)} for chunk in written],
        "finish": "steps" if len(written) == order.steps else "repetition",
    }
    return JSONResponse(content)


@router.post("/v1/chat/completions", summary="The same for OpenAI's clients", response_model=None)
async def completions(body: CompletionBody, state: Serving, request: Request) -> Response:
    """max_tokens ends it at a whole chunk; what n, stop and tools ask for is not done. `steps` beside OpenAI's own
    fields says how many chunks."""
    with state.models.held(body.model) as served:
        order = _order(state, served, body)
        order.most_tokens = body.max_completion_tokens or body.max_tokens
        completion = _Completion(served, order)
        if body.stream:
            usage = bool((body.stream_options or {}).get("include_usage"))
            written = chunks(served, order)
            # What is wrong shows before the first chunk, as long as a status can say so.
            first = await anext(written, None)
            events = completion.events(first, written, usage)
            return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        return JSONResponse(completion.whole(await _written(request, served, order)))


@router.post("/v1/embeddings", summary="Texts to vectors for OpenAI's clients")
async def embeddings(body: EmbeddingsBody, state: Serving) -> JSONResponse:
    texts = [body.input] if isinstance(body.input, str) else body.input
    check_texts(state.limits, texts)
    with state.models.held(body.model) as served:
        encoder: Encoder = served.texts.part("encoder")
        if body.dimensions not in (None, served.facts.dim):
            raise Refusal(
                422, f"the vectors of {served.facts.name} have {served.facts.dim} dims; leave dimensions out."
            )
        vectors_ND, tokens = await served.with_texts(lambda: (encoder.encode(texts), int(encoder.tokens(texts).sum())))
    data = [
        {"object": "embedding", "index": place, "embedding": _embedding(vector_D, body.encoding_format)}
        for place, vector_D in enumerate(vectors_ND)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": usage})


@router.get("/v1/models", summary="The models for OpenAI's clients")
async def models(state: Serving) -> JSONResponse:
    data = [{"id": one.facts.name, "object": "model", "created": 0, "owned_by": OWNER} for one in state.models]
    return JSONResponse({"object": "list", "data": data})


def _embedding(vector_D: np.ndarray, form: str | None) -> str | list[float]:
    if form == "base64":
        return base64.b64encode(np.ascontiguousarray(vector_D, dtype="<f4").tobytes()).decode()
    values: list[float] = vector_D.tolist()
    return values


async def _written(request: Request, served: Served, order: Order) -> list[Chunk]:
    """All of it. Nothing more is written once the client has left, for whom others would wait."""
    written: list[Chunk] = []
    async with contextlib.aclosing(chunks(served, order)) as others:
        async for chunk in others:
            written.append(chunk)
            if await request.is_disconnected():
                raise Refusal(499, "the client has left.")
    return written


def _order(state: State, served: Served, body: ChatBody | CompletionBody) -> Order:
    steps = state.chat_steps if body.steps is None else body.steps
    check_steps(state.limits, served, steps)
    text = joined(body.messages)
    check_texts(state.limits, [text])
    choose = sampled(body.temperature, body.seed) if body.temperature else best
    return Order(text, steps, choose)


class _Completion:
    """One answer in OpenAI's words."""

    def __init__(self, served: Served, order: Order) -> None:
        self._order, self._model = order, served.facts.name
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())

    def whole(self, written: list[Chunk]) -> dict[str, Any]:
        message = {"role": "assistant", "content": " ".join(chunk.text for chunk in written)}
        choice = {"index": 0, "message": message, "finish_reason": self._reason(written), "logprobs": None}
        return self._node("chat.completion", [choice]) | {"usage": self._usage(written)}

    async def events(self, first: Chunk | None, others: AsyncIterator[Chunk], usage: bool) -> AsyncIterator[bytes]:
        written: list[Chunk] = []
        yield self._event({"role": "assistant", "content": ""})
        try:
            while first is not None:
                yield self._event({"content": f"{' ' if written else ''}{first.text}"})
                written.append(first)
                first = await anext(others, None)
        except (Refusal, UserError) as error:
            yield _line(refusal.content(getattr(error, "status", 422), str(error)))
            return
        yield self._event({}, self._reason(written))
        if usage:
            yield _line(self._node("chat.completion.chunk", []) | {"usage": self._usage(written)})
        yield b"data: [DONE]\n\n"

    def _event(self, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _line(self._node("chat.completion.chunk", [choice]))

    def _node(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model, "choices": choices}

    def _reason(self, written: list[Chunk]) -> str:
        """Repetition is an end of its own; the chunks and tokens that were asked for are OpenAI's length."""
        most, tokens = self._order.most_tokens, sum(chunk.tokens for chunk in written)
        return "length" if len(written) == self._order.steps or (most is not None and tokens >= most) else "stop"

    def _usage(self, written: list[Chunk]) -> dict[str, int]:
        tokens = sum(chunk.tokens for chunk in written)
        prompt = self._order.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}


def _line(node: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(node, ensure_ascii=False).encode() + b"\n\n"
