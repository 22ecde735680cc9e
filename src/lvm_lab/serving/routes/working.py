"""`/encode`, `/decode`, `/chunk`, `/tmd` and `/ingest`: texts to vectors and codes, and vectors to texts.

Shape suffixes: N texts or vectors, D vector dim.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from lvm_lab.data import tmd
from lvm_lab.serving import vectors
from lvm_lab.serving.bodies import ChunkBody, DecodeBody, IngestBody, TextsBody, TmdBody
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.routes.limiting import check_steps, check_texts
from lvm_lab.serving.served import Served
from lvm_lab.serving.state import Serving
from lvm_lab.text.coder import Coder, names_of
from lvm_lab.text.decoder import Candidate, Decoder
from lvm_lab.text.encoder import Encoder

router = APIRouter(tags=["texts"])


@router.post("/encode", summary="Texts to vectors")
async def encode(body: TextsBody, state: Serving) -> Response:
    """`vectors` has a row a text, by the encoder that made the model's data."""
    check_texts(state.limits, body.texts)
    with state.models.held(body.model) as served:
        encoder: Encoder = served.texts.part("encoder")
        vectors_ND = await served.with_texts(lambda: encoder.encode(body.texts))
        return vectors.answer(vectors.JSON, vectors_ND, served.facts, _said(served), "vectors")


@router.post("/chunk", summary="A text to its chunks")
async def chunk(body: ChunkBody, state: Serving) -> JSONResponse:
    """As the documents of the model's data were cut. `stretches`: how many chunks each unbroken stretch has."""
    check_texts(state.limits, [body.text])
    with state.models.held(body.model) as served:
        encoder: Encoder | None = served.texts.part("encoder") if body.encode else None

        def work() -> dict[str, Any]:
            chunked = served.texts.cut(body.text)
            content = {"chunks": list(chunked.texts), "stretches": list(chunked.lengths)}
            return content if encoder is None else content | {"vectors": encoder.encode(chunked.texts).tolist()}

        return JSONResponse(_said(served) | await served.with_texts(work))


@router.post("/decode", summary="Vectors to texts")
async def decode(body: DecodeBody, state: Serving) -> JSONResponse:
    """`decoded` has for each vector, or each step, its candidates, the best first, each with the cosine of the text's
    own vector to it."""
    with state.models.held(body.model) as served:
        decoder: Decoder = served.texts.part("decoder")
        if body.steps:
            check_steps(state.limits, served, body.steps)
            context_LD = vectors.context(body.vectors, served.facts, "vectors")
            (future,) = served.batcher.submit([context_LD], body.steps)
            vectors_ND, _ = await asyncio.wrap_future(future)
        else:
            _check_count(len(body.vectors), state.limits.texts)
            vectors_ND = vectors.rows(body.vectors, served.facts.dim, "vectors")
        decoded = await served.with_texts(lambda: decoder.decode(vectors_ND))
        shown = [[_shown(one) for one in candidates[: body.candidates]] for candidates in decoded]
        return JSONResponse(_said(served) | {"decoded": shown, "notes": list(decoder.notes)})


@router.post("/tmd", summary="TMD codes of texts or vectors")
async def code(body: TmdBody, state: Serving) -> JSONResponse:
    """`codes` has for each its code with the names of domain, task and modifier, or null where it has none."""
    if (body.texts is None) == (body.vectors is None):
        raise Refusal(422, "codes are of texts or of vectors; send one of the two.")
    if body.texts is not None:
        check_texts(state.limits, body.texts)
    with state.models.held(body.model) as served:
        coder: Coder = served.texts.part("coder")
        encoder: Encoder = served.texts.part("encoder")
        if coder.needs_texts and body.texts is None:
            raise Refusal(422, "the server's coder reads texts; send texts.")
        given_ND = None
        if body.vectors is not None:
            _check_count(len(body.vectors), state.limits.texts)
            given_ND = vectors.rows(body.vectors, served.facts.dim, "vectors")

        def work() -> np.ndarray:
            vectors_ND = encoder.encode(body.texts or []) if given_ND is None else given_ND
            return np.concatenate([*coder.codes(served.texts.table, vectors_ND, body.texts, encoder)])

        codes_N = await served.with_texts(work)
        return JSONResponse(_said(served) | {"codes": _named(codes_N, served, coder)})


@router.post("/ingest", summary="Documents to a store")
async def ingest(body: IngestBody, state: Serving) -> JSONResponse:
    """Where the server was started with ingest=FOLDER: a store in that folder is made, or added to."""
    if state.ingest is None:
        raise Refusal(403, "this server makes no stores; start it with ingest=FOLDER.")
    check_texts(state.limits, [one.text for one in body.documents])
    documents = [{"id": one.id, "title": one.title, "text": one.text} for one in body.documents]
    async with state.ingesting:
        return JSONResponse(await asyncio.to_thread(state.ingest, body.store, documents))


def _named(codes_N: np.ndarray, served: Served, coder: Coder) -> list[dict[str, Any] | None]:
    names, numbers = names_of(served.texts.table, coder.by), tmd.unpack(codes_N)
    columns = {key.removesuffix("s"): (getattr(names, key), numbers[key].tolist()) for key in tmd.FIELDS}
    return [
        None
        if code == tmd.MISSING
        else {"code": code} | {field: of[numbers[place]] for field, (of, numbers) in columns.items()}
        for place, code in enumerate(codes_N.tolist())
    ]


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise Refusal(422, f"{count} vectors are too many at once; send {most} or fewer.")


def _shown(candidate: Candidate) -> dict[str, Any]:
    return {"text": candidate.text, "score": round(candidate.score, 6), "row": candidate.row}


def _said(served: Served) -> dict[str, Any]:
    return {"model": served.facts.name, "version": served.facts.version}
