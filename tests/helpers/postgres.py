"""A PostgreSQL server of the tests' own, from the wheel pgserver: with pgvector, on a socket, gone at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "Geheimnis-7f3a"
USER = "keeper"
# The server refuses to run as root, so that a user of its own has to be there.
SYSTEM_USER = "pgserver" if os.geteuid() == 0 else None
SECONDS = 1200


@dataclass(frozen=True)
class Server:
    """data: its folder, which its socket lies in too."""

    data: Path

    @property
    def admin(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.data}"

    def address(self, password: str = PASSWORD, user: str = USER) -> str:
        """Of a user whom the server asks for a password."""
        return f"postgresql://{user}:{password}@/postgres?host={self.data}"

    def execute(self, query: str, values: Any = None) -> list[Any]:
        import psycopg

        with psycopg.connect(self.admin, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def insert(self, statement: str, rows: list[list[Any]]) -> None:
        import psycopg

        with psycopg.connect(self.admin) as connection:
            connection.cursor().executemany(statement, rows)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.data} -c fsync=off"
        self._control("start", "-l", str(self.data / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        self._control("stop", "-m", mode)

    def _control(self, *words: str) -> None:
        from pgserver._commands import POSTGRES_BIN_PATH

        command = [str(POSTGRES_BIN_PATH / "pg_ctl"), "-w", "-t", str(SECONDS), "-D", str(self.data), *words]
        subprocess.run(command, check=True, user=SYSTEM_USER, cwd=self.data, stdout=subprocess.DEVNULL)


@contextmanager
def running() -> Iterator[Server]:
    # Importing it takes a lock in a folder that need not be there.
    from pgserver._commands import POSTGRES_BIN_PATH
    from pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions, ensure_user_exists

    # A short path: that of a socket has 107 characters at most. pytest's own folders are closed to other users.
    data = Path(tempfile.mkdtemp(prefix="lvm_pg_", dir="/tmp"))
    server = Server(data)
    if SYSTEM_USER is not None:
        ensure_user_exists(SYSTEM_USER)
        ensure_prefix_permissions(POSTGRES_BIN_PATH)
        for folder, rights in ((POSTGRES_BIN_PATH, 0o055), (POSTGRES_BIN_PATH.parent / "lib", 0o044)):
            ensure_folder_permissions(folder, rights)
        shutil.chown(data, SYSTEM_USER)
    initdb = [str(POSTGRES_BIN_PATH / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "-N"]
    try:
        subprocess.run(initdb, check=True, user=SYSTEM_USER, cwd=data, stdout=subprocess.DEVNULL)
        rules = data / "pg_hba.conf"
        rules.write_text(f"local all {USER} scram-sha-256\n{rules.read_text()}")
        server.start()
        server.execute(f"CREATE EXTENSION vector; CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        server.execute(f"GRANT CREATE ON SCHEMA public TO {USER}")
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)
