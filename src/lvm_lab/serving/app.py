"""The application: its paths, its errors, its guard."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from lvm_lab import __version__
from lvm_lab.config.serving import ServeSettings
from lvm_lab.errors import UserError
from lvm_lab.serving import refusal
from lvm_lab.serving.guard import Guard
from lvm_lab.serving.metrics import Metrics
from lvm_lab.serving.models import Models
from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.routes import chatting, looking, predicting, trying, working
from lvm_lab.serving.routes.direct import RESPONSES
from lvm_lab.serving.served import Served
from lvm_lab.serving.state import Ingest, State
from lvm_lab.serving.vectors import JSON, first_of
from lvm_lab.serving.watching import watch

log = logging.getLogger(__name__)

DESCRIPTION = (
    "Latent vector models: the vectors of a document's chunks in, the vector of the next one out. Errors are "
    '{"error": {"message": one sentence, "type", "code"}}.'
)
Opened = Callable[[str, Path], Served]


def application(
    models: Models, settings: ServeSettings, metrics: Metrics, opened: Opened, key: str | None, ingest: Ingest | None
) -> Guard:
    """What an ASGI server runs. opened: makes a version of a registry ready. key: what requests have to bring."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = settings.registry
        watcher = asyncio.create_task(watch(models, Path(registry), opened)) if registry else None
        yield
        if watcher is not None:
            watcher.cancel()
        await asyncio.to_thread(models.close)

    app = FastAPI(
        title="lvm-lab serve",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # As /predict takes it; pages of the Web, from which this would keep them, are told by their Origin.
        strict_content_type=False,
        responses=RESPONSES,
    )
    app.state.serving = State(models, settings.limits, metrics, settings.chat_steps, ingest)
    # Routes of the app itself: an included router is looked through twice for each request.
    app.router.routes.extend(predicting.router.routes)
    for one in (looking, working, trying, chatting):
        app.include_router(one.router)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(UserError, _mistaken)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    if settings.origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    hosts = [*settings.hosts, f"[{settings.host}]" if ":" in settings.host else settings.host]
    return Guard(app, settings.limits, metrics, hosts, settings.origins, key)


def _answer(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(refusal.content(status, sentence), status, refusal.headers(status) | (headers or {}))


def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _answer(error.status, error.sentence)


def _mistaken(request: Request, error: Exception) -> JSONResponse:
    return _answer(422, str(error))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):
        # What says that it is no JSON is not read as such.
        return _answer(415, refusal.unread(JSON))
    return _answer(422, first_of(error.errors()))


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        # FastAPI's own for bytes that are no UTF-8 and for brackets without end.
        return _answer(422, "the body is no JSON; send a JSON object.")
    sentences = {
        404: "there is no such path; /docs lists them.",
        405: "this path takes another method; /docs lists them.",
    }
    default = f"{str(error.detail).rstrip('.')}; /docs shows what is taken."
    return _answer(error.status_code, sentences.get(error.status_code, default), dict(error.headers or {}))


def _failed(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, f"the server failed ({type(error).__name__}); its log has the rest.")
