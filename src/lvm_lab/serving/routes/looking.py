"""`/health`, `/models`, `/metrics` and `/docs`: what the server is and how it does."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from lvm_lab import __version__
from lvm_lab.serving import api_page
from lvm_lab.serving.served import Absent, Served
from lvm_lab.serving.state import Serving

router = APIRouter(tags=["server"])


@router.get("/health", summary="Whether it serves")
async def health(state: Serving) -> JSONResponse:
    """200 as long as it answers. `failures`: models whose newest version could not be loaded, and goes on without."""
    return JSONResponse({"status": "ok", "version": __version__, "failures": sorted(state.models.failures)})


@router.get("/models", summary="The models")
async def models(state: Serving) -> JSONResponse:
    """What each reads, what encoder its vectors are of, and which texts it can work on."""
    return JSONResponse({"models": [_described(one, state) for one in state.models]})


def _described(served: Served, state: Serving) -> dict[str, Any]:
    facts, texts = served.facts, served.texts
    parts = {name: getattr(texts, name) for name in ("encoder", "chunker", "decoder", "coder")}
    return {
        "name": facts.name,
        "version": facts.version,
        "arch": facts.arch,
        "params": facts.params,
        "dim": facts.dim,
        "row_width": facts.width,
        "context_length": facts.context_length,
        "trained_on_lengths": [facts.trained.least, facts.trained.most],
        "encoder": facts.contract.short(),
        "engine": facts.engine,
        "engine_reason": facts.engine_reason,
        "available": [name for name, part in parts.items() if not isinstance(part, Absent)],
        "absent": {name: part.reason for name, part in parts.items() if isinstance(part, Absent)},
        "failure": state.models.failures.get(facts.name),
    }


@router.get("/metrics", summary="For Prometheus", response_class=Response)
async def metrics(state: Serving) -> Response:
    return Response(state.metrics.text(state.models), media_type=state.metrics.content_type)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    return HTMLResponse(api_page.page(request.app.openapi()), headers={"content-security-policy": api_page.POLICY})
