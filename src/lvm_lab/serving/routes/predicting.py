"""`/predict` and `/predict_batch`: contexts to what follows them.

Shape suffixes: L context length, D vector dim, S steps.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from lvm_lab.serving import refusal, vectors
from lvm_lab.serving.bodies import OutputType, PredictBatchBody, PredictBody
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.routes.direct import RESPONSES, Direct
from lvm_lab.serving.routes.limiting import check_steps
from lvm_lab.serving.served import Served
from lvm_lab.serving.state import Serving

router = APIRouter(tags=["vectors"], route_class=Direct, responses=RESPONSES)


def _documented(kind: type[BaseModel], shape: str) -> dict[str, Any]:
    """The body and the answers of a path that reads its body itself."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    said = f"float32, little-endian; X-Shape: {shape}. model, output_type and steps stand in the address."
    parameters = [
        {"in": "query", "name": name, "schema": schema, "description": "Of a binary body."}
        for name, schema in (
            ("model", {"type": "string"}),
            ("output_type", {"enum": ["decoder", "cosine"]}),
            ("steps", {"type": "integer", "minimum": 1}),
        )
    ]
    parameters.append({"in": "header", "name": "X-Shape", "schema": {"type": "string"}, "description": said})
    content = {"application/json": {"schema": kind.model_json_schema()}, vectors.RAW: binary, vectors.NPY: binary}
    return {"requestBody": {"required": True, "content": content}, "parameters": parameters}


@router.post("/predict", summary="What follows one context", openapi_extra=_documented(PredictBody, "5,768"))
async def predict(request: Request, state: Serving) -> Response:
    """`vectors` has a row a step, in the encoder's own distribution for `output_type: decoder`, of unit length for
    `cosine`. A context has 1 to context_length vectors. A binary body is answered in kind."""
    media, asked, given = await _asked(request, PredictBody, "context_vectors")
    with state.models.held(asked.model) as served:
        check_steps(state.limits, served, asked.steps)
        context_LD = vectors.context(given, served.facts)
        (outputs_SD,) = await _rollouts(served, [context_LD], asked.steps, asked.output_type)
        return vectors.answer(media, outputs_SD, served.facts, _said(served, asked.output_type), "vectors")


@router.post(
    "/predict_batch", summary="What follows each of several", openapi_extra=_documented(PredictBatchBody, "32,5,768")
)
async def predict_batch(request: Request, state: Serving) -> Response:
    """`predictions` has for each context a row a step. Contexts in JSON may differ in length."""
    media, asked, given = await _asked(request, PredictBatchBody, "contexts")
    if media != vectors.JSON and given.ndim != 3:
        raise Refusal(422, f"the array has {given.ndim} dims; contexts are of three: contexts, vectors, numbers.")
    with state.models.held(asked.model) as served:
        check_steps(state.limits, served, asked.steps, len(given))
        contexts = [vectors.context(one, served.facts, f"contexts.{place}") for place, one in enumerate(given)]
        outputs = await _rollouts(served, contexts, asked.steps, asked.output_type)
        said = _said(served, asked.output_type)
        return vectors.answer(media, np.stack(outputs), served.facts, said, "predictions")


async def _asked(request: Request, kind: type[vectors.B], field: str) -> tuple[str, vectors.B, Any]:
    """The body's type, what is asked for, and its vectors: lists of JSON, or an array. field: theirs in JSON."""
    media, content = _media(request), await request.body()
    if media == vectors.JSON:
        asked = vectors.parsed(kind, content)
        return media, asked, getattr(asked, field)
    asked = vectors.options(kind, request.query_params, field)
    return media, asked, vectors.array(media, content, request.headers)


async def _rollouts(
    served: Served, contexts: list[np.ndarray], steps: int, output_type: OutputType
) -> list[np.ndarray]:
    futures = [asyncio.wrap_future(one) for one in served.batcher.submit(contexts, steps)]
    answers = await asyncio.gather(*futures)
    return [raw_SD if output_type == "decoder" else unit_SD for raw_SD, unit_SD in answers]


def _media(request: Request) -> str:
    """Of the request's body: JSON where it does not say."""
    media = request.headers.get("content-type", vectors.JSON).partition(";")[0].strip().lower()
    if media not in (vectors.JSON, vectors.RAW, vectors.NPY):
        raise Refusal(415, refusal.unread(vectors.JSON, vectors.RAW, vectors.NPY))
    return media


def _said(served: Served, output_type: OutputType) -> dict[str, Any]:
    return {"model": served.facts.name, "version": served.facts.version, "output_type": output_type}
