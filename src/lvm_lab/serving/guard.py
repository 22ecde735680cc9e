"""What every request has to pass before anything reads it: host, origin, key, size, time and number.

Plain ASGI: a middleware of Starlette's own base would cost as much as a prediction.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from lvm_lab.config.serving import Limits
from lvm_lab.serving import refusal
from lvm_lab.serving.metrics import Metrics
from lvm_lab.serving.refusal import Refusal

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Without a key: they tell nothing of models and texts. What looks after the server is answered also when it is full.
OPEN = ("/", "/health", "/docs", "/openapi.json")
ALWAYS = ("/health", "/metrics")
LOCAL = ("localhost", "127.0.0.1", "[::1]")


class Answer:
    """What was sent of an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class Guard:
    """Around an app. hosts, origins: whom else it answers to, besides this machine and its own pages. key: what
    requests have to bring as a bearer; None: nothing."""

    def __init__(
        self, app: App, limits: Limits, metrics: Metrics, hosts: Sequence[str], origins: Sequence[str], key: str | None
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._hosts, self._origins = {*LOCAL, *(host.lower() for host in hosts)}, {*origins}
        self._key = None if key is None else key.encode()
        self._held_bytes, self._open = 0, 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        began, answer = time.perf_counter(), Answer(send)
        try:
            await self._answer(scope, receive, answer)
        except Refusal as error:
            await self._refuse(answer, error)
        finally:
            route = scope.get("route")
            self._metrics.answered(getattr(route, "path", "other"), answer.status or 499, time.perf_counter() - began)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, answer: Answer) -> None:
        headers = {name: value for name, value in scope["headers"]}
        self._check(scope["method"], scope["path"], headers)
        held = _Body(self)
        try:
            body = await self._body(headers, receive, held)
            if body is None:
                return
            await self._work(scope, _replay(body, receive), answer)
        finally:
            self._held_bytes -= held.size

    def _check(self, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _without_port(host) not in self._hosts and "*" not in self._hosts:
            raise Refusal(403, "this server does not answer to that host; name it in hosts=... when it is started.")
        origin = headers.get(b"origin")
        if origin is not None and not self._from_here(origin.decode("latin-1"), host):
            raise Refusal(403, "pages of that origin may not ask; name it in origins=... when the server is started.")
        # A browser asks without the key whether it may ask with it.
        if self._key is None or path in OPEN or (method == "OPTIONS" and origin is not None):
            return
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._key):
            raise Refusal(401, "the key is missing or wrong; send it as Authorization: Bearer KEY.")

    def _from_here(self, origin: str, host: str) -> bool:
        return origin in self._origins or origin.lower() in (f"http://{host}", f"https://{host}")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive, held: _Body) -> bytes | None:
        """All of it; None where the client has left."""
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limits.body_bytes:
            raise self._too_large()
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    if piece := message.get("body", b""):
                        pieces.append(piece)
                        held.add(len(piece))
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            seconds = self._limits.upload_seconds
            raise Refusal(408, f"the body was not here within {seconds:g} seconds; send it faster.") from None

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is larger than {self._limits.body_mb:g} MB; send less at once.")

    def hold(self, size: int, whole: int) -> None:
        """Count bytes of a body that has so many by now."""
        self._held_bytes += size
        if whole > self._limits.body_bytes:
            raise self._too_large()
        if self._held_bytes > self._limits.bodies_bytes:
            raise Refusal(503, "the server holds too many bodies; ask again in a second.")

    async def _work(self, scope: MutableMapping[str, Any], receive: Receive, answer: Answer) -> None:
        if self._open >= self._limits.requests and scope["path"] not in ALWAYS:
            raise Refusal(503, "the server has too many requests at once; ask again in a second.")
        self._open += 1
        self._metrics.open.set(self._open)
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, answer)
        except TimeoutError:
            seconds = self._limits.seconds
            raise Refusal(503, f"this takes longer than {seconds:g} seconds; ask for less, or again later.") from None
        finally:
            self._open -= 1
            self._metrics.open.set(self._open)

    async def _refuse(self, answer: Answer, error: Refusal) -> None:
        if answer.status:
            # It has begun, and nothing in it could say so: the connection ends before the answer does.
            log.warning("an answer was broken off: %s", error.sentence)
            return
        content = refusal.body(error.status, error.sentence)
        headers = {"content-type": "application/json", "content-length": str(len(content))}
        # What was not read of the body would be taken for the next request.
        headers |= refusal.headers(error.status) | ({"connection": "close"} if error.status in (408, 413) else {})
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await answer({"type": "http.response.start", "status": error.status, "headers": raw})
        await answer({"type": "http.response.body", "body": content})


class _Body:
    """How much of a body is held."""

    def __init__(self, guard: Guard) -> None:
        self._guard, self.size = guard, 0

    def add(self, size: int) -> None:
        self.size += size
        self._guard.hold(size, self.size)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that is here, and then what the client does."""
    pieces = [body]

    async def replayed() -> Message:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": False}
        return await receive()

    return replayed


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) else host
