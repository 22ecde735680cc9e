"""Killed by SIGKILL while reading or writing, and gone on with; 100,000 rows that cross to the last bit."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import start, wait_until
from helpers.documents import make_documents
from helpers.ingesting import content
from helpers.postgres import Server
from lvm_lab.commands.composing import compose
from lvm_lab.config.ingest import IngestSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.postgres.writing import Written
from lvm_lab.data.store import Store, open_store, write_store
from lvm_lab.jobs import ingestion
from lvm_lab.jobs.export_postgres import Settings, export

pytestmark = pytest.mark.slow
BESIDE = "SELECT relname FROM pg_class WHERE relname LIKE 'lvm_lab_export_%'"
SMALL_BLOCKS = """
import sys
from lvm_lab import export_data
from lvm_lab.data.postgres import writing
writing.ROWS_AT_ONCE = 20
sys.exit(export_data.main([sys.argv[1], "into=postgres"]))
"""


def store_of(folder: Path, documents: int, chunks: int, dim: int) -> Store:
    vectors_ND = np.random.default_rng(0).standard_normal((documents * chunks, dim)).astype(np.float16)
    texts = [f"chunk {row}" for row in range(len(vectors_ND))]
    made = make_documents([chunks] * documents, ids=[str(number) for number in range(documents)])
    return write_store(folder, vectors_ND, made, EncoderContract(encoder="made"), texts=texts)


def written(store: Store) -> Written:
    return export(store.path, Settings(), lambda question: False, lambda rows, total: None)


def ingested(out: Path, *settings: str) -> None:
    node = compose(
        "ingest", [f"out={out}", "reader=postgres", "encoder=stored", "checks=false", "threads=1", *settings]
    )
    ingestion.ingest(IngestSettings.from_dict(node), lambda documents, chunks: None)


def test_a_killed_export_leaves_no_row_and_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", 400, 10, 32)
    script = tmp_path / "small_blocks.py"
    script.write_text(SMALL_BLOCKS)
    process = start(tmp_path, str(store.path), script=script)

    def rows_are_kept() -> bool:
        return any(server.execute(f"SELECT count(*) > 100 FROM {name}")[0][0] for (name,) in server.execute(BESIDE))

    assert wait_until(rows_are_kept, process), process.communicate()
    process.kill()
    process.communicate()
    assert server.execute("SELECT to_regclass('cpe_entry')") == [(None,)]
    again = written(store)
    assert 100 < again.kept < 4000
    assert again.rows == 4000
    ingested(tmp_path / "again")
    assert open_store(tmp_path / "again").content == store.content
    assert server.execute(BESIDE) == []


def test_a_killed_ingestion_is_gone_on_with_to_the_same_bytes(server: Server, tmp_path: Path) -> None:
    written(store_of(tmp_path / "store", 400, 10, 32))
    settings = ("reader=postgres", "encoder=stored", "checks=false", "threads=1", "block=20")
    script = tmp_path / "ingest.py"
    script.write_text("from lvm_lab import ingest\ningest.main()\n")
    process = start(tmp_path, *settings, "out=killed", script=script)
    blocks = tmp_path / ".killed.ingest" / "shard-0"
    assert wait_until(lambda: len([*blocks.glob("block-*")]) > 5, process), process.communicate()
    process.kill()
    process.communicate()
    kept = len([*blocks.glob("block-*")])
    assert 5 < kept < 200
    assert not (tmp_path / "killed").exists()
    before = (blocks / "block-000003.npz").stat()
    assert before.st_mtime < time.time()
    ingested(tmp_path / "killed", "block=20")
    ingested(tmp_path / "whole", "block=20")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_a_hundred_thousand_rows_of_768_dims_cross_to_the_last_bit(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", 2_000, 50, 768)
    seconds = written(store).seconds
    since = time.perf_counter()
    ingested(tmp_path / "again")
    again = open_store(tmp_path / "again")
    print(f"\nout {100_000 / seconds:,.0f} rows/s, in {100_000 / (time.perf_counter() - since):,.0f} rows/s")
    print(f"load {os.getloadavg()[0]:.1f}")
    mine, theirs = ((one.parts[0] / "vectors.npy").read_bytes() for one in (store, again))
    assert mine == theirs
    assert (again.content, again.texts()) == (store.content, store.texts())
