"""One real server a session; a test gets an empty database of it, and the environment that names it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from helpers.postgres import USER, Server, running
from lvm_lab.data.postgres.connection import VARIABLE


@pytest.fixture(scope="session")
def _running() -> Iterator[Server]:
    if sys.version_info >= (3, 13):
        pytest.skip("pgserver has no wheel for this Python")
    with running() as server:
        yield server


@pytest.fixture
def server(_running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    _running.execute(f"DROP OWNED BY {USER}; GRANT CREATE ON SCHEMA public TO {USER}")
    monkeypatch.setenv(VARIABLE, _running.address())
    return _running
