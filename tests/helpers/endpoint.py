"""An HTTP server for tests of clients, which is put away at once."""

from __future__ import annotations

from pytest_httpserver import HTTPServer


class Endpoint(HTTPServer):
    """As the library's, which looks twice a second whether it is to end; a test waits for that."""

    def thread_target(self) -> None:
        assert self.server is not None
        self.server.serve_forever(poll_interval=0.01)
