"""What the paths of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from lvm_lab.config.serving import Limits
from lvm_lab.serving.metrics import Metrics
from lvm_lab.serving.models import Models

# The store's name and its documents (id, title, text) to what became of them.
Ingest = Callable[[str, list[dict[str, str]]], dict[str, Any]]


@dataclass(frozen=True)
class State:
    """ingest: None where it is off. chat_steps: chunks that a chat writes where the request says no number.
    ingesting: held by the one request whose documents become a store, so that those behind it wait in no thread, which
    others need, and are not done after they were given up."""

    models: Models
    limits: Limits
    metrics: Metrics
    chat_steps: int
    ingest: Ingest | None = None
    ingesting: asyncio.Lock = field(default_factory=asyncio.Lock)


async def _state(request: Request) -> State:
    state: State = request.app.state.serving
    return state


# Not a plain function, which would be called in a thread.
Serving = Annotated[State, Depends(_state)]
