"""The application behind a port."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lvm_lab.config.serving import ServeSettings
from lvm_lab.errors import UserError
from lvm_lab.serving.guard import Guard

BACKLOG = 2048
# Longer than clients keep a connection that they do not use, who would else find it closed as they ask again.
KEPT_SECONDS = 75
# Of a request's head, behind its first piece.
HEAD_BYTES = 2**20


class Patient(HttpToolsProtocol):
    """A connection on which no whole head comes in time is closed, and so is one whose head has no end, which uvicorn
    has no settings for."""

    seconds = 15.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = None
        self._await_head()

    def data_received(self, data: bytes) -> None:
        # Behind an answer: blank lines, or what a refused request goes on to send, which uvicorn waits for without end.
        if self._head is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.send_400_response("The head of the request is too large.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._cancel()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._cancel()
        self._head = self.loop.call_later(self.seconds, self.transport.close)

    def _cancel(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises UserError where none can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{host}:{port} cannot be listened at ({reason}); set another port=... or host=...") from error
    return listener


def run(guard: Guard, listener: socket.socket, settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM; what is asked by then is still answered, for as long as the settings say."""
    _allow_files()
    # Libraries and models stay: looking through their objects for garbage would hold up requests again and again.
    gc.collect()
    gc.freeze()
    server(guard, settings).run(sockets=[listener])


def server(guard: Guard, settings: ServeSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        guard,
        http=type("Protocol", (Patient,), {"seconds": settings.limits.upload_seconds}),
        loop="auto",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Nothing here asks who the client of a proxy is.
        proxy_headers=False,
        timeout_keep_alive=KEPT_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
    )
    return uvicorn.Server(config)


def _allow_files() -> None:
    """A connection is an open file, of which a process may often have 1,024 until it asks for more."""
    if os.name != "posix":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
