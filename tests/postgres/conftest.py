"""One real server a session; a test gets it without a table, and the environment that names it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from helpers.postgres import Server, running
from lvm_lab.data.postgres.connection import VARIABLE


@pytest.fixture(scope="session")
def _running() -> Iterator[Server]:
    if sys.version_info >= (3, 13):
        pytest.skip("pgserver has no wheel for this Python")
    with running() as server:
        yield server


@pytest.fixture
def server(_running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    # A reader of an earlier test may hold on to a table yet.
    _running.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lvm_lab'")
    tables = _running.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        _running.execute(f"DROP TABLE {table} CASCADE")
    monkeypatch.setenv(VARIABLE, _running.address())
    return _running
