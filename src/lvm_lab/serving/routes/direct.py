"""Paths whose function is called at once, without FastAPI's search for what it might depend on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

# Of every path.
RESPONSES: dict[int | str, dict[str, Any]] = {"4XX": {"description": "What is wrong, in one sentence."}}


class Direct(APIRoute):
    """A path of a function of (request, state) that reads its own body and answers with a Response. It stands in the
    OpenAPI document like others; what FastAPI would do for each request besides is as much as all that is done for it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            response: Response = await self.endpoint(request, request.app.state.serving)
            return response

        return handle
