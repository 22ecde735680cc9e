"""The address of the database stays in the environment: in no file, message or record of a way through the lab."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers.commands import call
from helpers.documents import make_documents
from helpers.postgres import PASSWORD, USER, Server
from lvm_lab import export_data, ingest, train
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.postgres.connection import VARIABLE, connect
from lvm_lab.data.store import write_store
from lvm_lab.errors import UserError

STORED = ("reader=postgres", "encoder=stored", "encoder.encoder=made", "out=store", "block=50", "checks=false")


def everything(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, whatever it is packed in."""
    content: dict[str, bytes] = {}
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        content[str(file)] = file.read_bytes()
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                content |= {f"{file}:{name}": archive.read(name) for name in archive.namelist()}
        if file.suffix == ".parquet":
            content[f"{file}:rows"] = repr(pq.read_table(file).to_pydict()).encode()
    return content


def holding(content: dict[str, bytes], secret: str) -> list[str]:
    return [name for name, raw in content.items() if secret.encode() in raw]


@pytest.mark.slow
def test_a_password_is_nowhere_after_export_ingestion_and_training(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    documents, chunks, dim = 60, 10, 16
    vectors_ND = np.random.default_rng(0).standard_normal((documents * chunks, dim)).astype(np.float32)
    write_store(tmp_path / "made", vectors_ND, make_documents([chunks] * documents), EncoderContract(encoder="made"))
    outcomes = [
        call(tmp_path, "made", "into=postgres", main=lambda: exit(export_data.main(["made", "into=postgres"]))),
        call(tmp_path, *STORED, main=ingest.main),
        # Refused on its way, with its blocks beside it.
        call(tmp_path, *STORED, "reader.vector=null", "append=true", main=ingest.main),
        call(
            tmp_path, "data=npz", "data.path=store", "arch=gru", "arch.width=16", "device=cpu",
            "5cat=off", "trainer.max_epochs=1", "trainer.batch_size=64", "logger=[wandb,csv]", "run.dir=run",
            main=train.main,
        ),
    ]  # fmt: skip
    assert [outcome.code for outcome in outcomes] == [0, 0, 2, 0], [outcome.err for outcome in outcomes]
    content = everything(tmp_path)
    content |= {f"out {n}": (one.out + one.err).encode() for n, one in enumerate(outcomes)}
    content["log"] = caplog.text.encode()
    names = list(content)
    for part in ("ingest.json", "manifest.json", "best.ckpt", ".wandb", "config.yaml", "result.json", "train.log"):
        assert any(part in name for name in names), f"the search goes by {part}"
    assert holding(content, "made"), "what is searched for would be seen"
    for secret in (PASSWORD, f"{USER}:", str(server.data), server.address()):
        assert holding(content, secret) == []


def test_a_wrong_password_is_told_and_never_echoed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(VARIABLE, server.address(password="Mistyped-31"))
    outcome = call(tmp_path, *STORED, main=ingest.main)
    assert outcome.code == 2
    assert outcome.sentence.startswith(f"the database that {VARIABLE} names refuses its user or password; set it right")
    assert "Mistyped" not in outcome.out + outcome.err + caplog.text
    assert list(tmp_path.iterdir()) == []


MISTYPED = {
    "a sign in the password": "postgresql://me:Hu@sh/er@127.0.0.1/db",
    "a bracket": "postgresql://me:Hu[sh@127.0.0.1/db",
    "a space": "host=127.0.0.1 password=Hu sh",
    "a half sign": "postgresql://me:Hu%sh@127.0.0.1/db",
    "a port that is none": "postgresql://me@127.0.0.1:Hush/db",
    "nobody there": "postgresql://me:Hush@127.0.0.1:1/db",
    "no such place": "host=/nowhere/Hush password=Hush",
    "a word": "Hush",
}


@pytest.mark.parametrize("address", MISTYPED.values(), ids=MISTYPED)
def test_no_piece_of_a_mistyped_address_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client library's own words have pieces of it: what it takes for a host, or for a keyword."""
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(UserError) as told:
        connect()
    assert "Hu" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__
    assert VARIABLE in str(told.value)


def test_an_address_that_is_not_there_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=f"{VARIABLE} is not set and says where the database is; export {VARIABLE}="):
        connect()


def test_a_missing_library_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(UserError, match=r"psycopg is not installed; pip install lvm_lab\[postgres\] brings it\."):
        connect()


def test_a_password_in_a_setting_is_refused_and_not_echoed(tmp_path: Path) -> None:
    for setting in ("reader.table=postgresql://me:Hush@host/db", "reader.password=Hush", "reader.dsn=Hush"):
        outcome = call(tmp_path, *STORED, setting, main=ingest.main)
        assert outcome.code == 2
        assert "Hush" not in outcome.out + outcome.sentence
    assert io.StringIO(outcome.err).readline().startswith("error: reader.dsn does not exist")
