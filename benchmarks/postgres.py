"""Rows a second into PostgreSQL and out of it, for docs/postgres.md: `python benchmarks/postgres.py [ROWS]`.

The database is the one that LVM_LAB_POSTGRES names; a table `lvm_lab_benchmark` is made in it and dropped.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.postgres.connection import connect
from lvm_lab.data.store import Documents, Store, write_store
from lvm_lab.jobs.export_postgres import Settings, export
from lvm_lab.text.readers.postgres import Postgres

TABLE, CHUNKS, DIM = "lvm_lab_benchmark", 50, 768


def main() -> None:
    documents = (int(sys.argv[1]) if len(sys.argv) > 1 else 100_000) // CHUNKS
    rows = documents * CHUNKS
    with tempfile.TemporaryDirectory() as folder:
        store = made(Path(folder), documents)
        connection = connect()
        clear = f"DROP TABLE IF EXISTS {TABLE}"
        connection.execute(clear)
        try:
            report("export-data: COPY in binary, moved into a table with an index", rows, lambda: write(store))
            report("reader=postgres: looked at, hashed by the server, and read by its cursor", rows, read)
            connection.execute(clear)
            for form in ("BINARY", "TEXT"):
                connection.execute(f"CREATE UNLOGGED TABLE {TABLE} (number int8, floats real[])")
                report(f"COPY alone, {form.lower()}, real[]", rows, lambda form=form: copy(connection, store, form))
                connection.execute(clear)
        finally:
            connection.execute(clear)
            connection.close()


def report(what: str, rows: int, body: Callable[[], object]) -> None:
    since = time.perf_counter()
    body()
    seconds = time.perf_counter() - since
    print(f"{what}: {rows:,} x {DIM} in {seconds:.1f} s, {rows / seconds:,.0f} rows/s", flush=True)


def made(folder: Path, documents: int) -> Store:
    rng = np.random.default_rng(0)
    vectors_ND = rng.standard_normal((documents * CHUNKS, DIM), dtype=np.float32).astype(np.float16)
    ids, length = [str(number) for number in range(documents)], np.full(documents, CHUNKS)
    table = Documents(ids, [""] * documents, ["benchmark"] * documents, np.arange(documents) * CHUNKS, length)
    texts = [f"The text of chunk {row}, of usual length, as an encoder gets it." * 3 for row in range(len(vectors_ND))]
    return write_store(folder / "store", vectors_ND, table, EncoderContract(), texts=texts)


def write(store: Store) -> None:
    export(store.path, Settings(TABLE), lambda question: False, lambda rows, total: None)


def read() -> None:
    reader = Postgres(table=TABLE)
    reader.content()
    for _ in reader.documents():
        pass


def copy(connection: object, store: Store, form: str) -> None:
    """As text, each float is written out by its shortest digits."""
    from lvm_lab.data.postgres.catalogue import Column
    from lvm_lab.data.postgres.vectors import adapt, encoded

    adapt(connection, Column("floats", 1021, "_float4", "real[]", "", False, -1, False))
    statement = f"COPY {TABLE} FROM STDIN (FORMAT {form})"
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as rows:  # type: ignore[attr-defined]
        if form == "BINARY":
            rows.set_types([20, 1021])
        for first in range(0, len(store.vectors_ND), 4096):
            block_ND = np.asarray(store.vectors_ND[first : first + 4096], np.float32)
            if form == "BINARY":
                values = encoded(block_ND, "_float4")
            else:
                values = ["{" + ",".join(map(str, row)) + "}" for row in block_ND.tolist()]
            for number, value in enumerate(values, first):
                rows.write_row((number, value))


if __name__ == "__main__":
    main()
