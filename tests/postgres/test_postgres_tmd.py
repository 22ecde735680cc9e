"""TMD codes and ids of chunks through a table: in every type that holds them, with their names, and what is refused."""

# A case is a line.
# ruff: noqa: E501
from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from helpers.documents import make_documents
from helpers.postgres import Server
from helpers.text_parts import CONF
from lvm_lab import export_data
from lvm_lab.commands.composing import compose
from lvm_lab.config.ingest import IngestSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.postgres.writing import Written
from lvm_lab.data.store import Documents, Store, open_store, write_store
from lvm_lab.data.tmd import FIELDS, MISSING, Names
from lvm_lab.errors import UserError
from lvm_lab.jobs import ingestion
from lvm_lab.jobs.export_postgres import Settings, export
from lvm_lab.text.readers.postgres import Postgres

D, ROWS = 4, 12
NAMES = Names(*(tuple(f"{field} {k}" for k in range(count)) for field, count in zip(FIELDS, (16, 32, 64), strict=True)))
WITHOUT_NAMES = "what TMD codes mean (reader.tmd_names says it to an ingestion)"
EXISTING = """CREATE TABLE cpe_entry (cpe_id uuid, concept_text text, concept_vec real[], dataset_source text,
article_index int, chunk_index int, tmd_code {type}); GRANT ALL ON cpe_entry TO keeper"""


def coded_store(folder: Path, ids: list[str] | None = None) -> Store:
    """Three documents of two sources, whose codes reach from the least to the greatest; the chunk at row 3 has none."""
    made = make_documents([5, 4, 3], ids=["0", "1", "2"])
    documents = Documents(made.id, [""] * 3, ["wiki", "wiki", "news"], made.start, made.length)
    rng = np.random.default_rng(0)
    codes_N = (2 * rng.integers(1 << 15, size=ROWS)).astype(np.uint16)
    codes_N[:4] = 0xFFFE, 0x8000, 0, MISSING
    vectors_ND = rng.standard_normal((ROWS, D)).astype(np.float16)
    texts = [f"chunk {row}" for row in range(ROWS)]
    contract = EncoderContract(encoder="e")
    return write_store(folder, vectors_ND, documents, contract, texts=texts, ids=ids, codes_N=codes_N, table=NAMES)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return coded_store(tmp_path_factory.mktemp("coded") / "store")


def names_file(folder: Path, count: int = 64) -> Path:
    file = folder / "names.yaml"
    file.write_text(yaml.safe_dump({key: list(getattr(NAMES, key))[:count] for key in FIELDS}))
    return file


def written(store: Store, **settings: Any) -> Written:
    return export(store.path, Settings(**settings), lambda question: False, lambda rows, total: None)


def ingested(out: Path, *settings: str, encoder: str = "stored") -> tuple[Store, dict[str, Any]]:
    words = (f"hydra.searchpath=[file://{CONF}]", f"out={out}", "reader=postgres", f"encoder={encoder}", "checks=false")
    node = compose("ingest", [*words, "threads=1", *settings])
    _, record = ingestion.ingest(IngestSettings.from_dict(node), lambda documents, chunks: None)
    return open_store(out, verify=True), record


def by_document(store: Store) -> dict[str, list[int]]:
    table = store.documents
    assert store.codes_N is not None
    return {
        name: store.codes_N[start : start + length].tolist()
        for name, start, length in zip(table.id, table.start, table.length, strict=True)
    }


def test_codes_cross_with_their_names_and_a_chunk_without_one_stays_so(
    server: Server, store: Store, tmp_path: Path
) -> None:
    assert export_data.main([str(store.path), "into=postgres"]) == 0
    again, record = ingested(tmp_path / "again", f"reader.tmd_names={names_file(tmp_path)}", "block=4")
    assert by_document(again) == by_document(store)
    assert again.tmd == NAMES
    assert (record["tmd"]["chunks"], record["tmd"]["missing"]) == (ROWS - 1, 1)
    assert record["tmd"]["domains"]["domains 15"] >= 1
    # They are of the texts, whoever encodes those.
    other, _ = ingested(tmp_path / "other", "reader.vector=null", encoder="letters")
    assert by_document(other) == by_document(store)
    assert other.tmd == Names()


@pytest.mark.parametrize("type", ["smallint", "integer", "bigint"])
def test_a_column_that_is_there_holds_codes_and_gives_them_back(server: Server, store: Store, type: str) -> None:
    server.execute(EXISTING.format(type=type))
    assert written(store).losses == [WITHOUT_NAMES, "what made the vectors"]
    first = server.execute("SELECT tmd_code FROM cpe_entry WHERE article_index = 0 ORDER BY chunk_index LIMIT 4")
    upper = (-2, -(1 << 15)) if type == "smallint" else (0xFFFE, 1 << 15)
    assert [code for (code,) in first] == [*upper, 0, None]
    documents = {document.id: document.codes_N for document in Postgres().documents()}
    assert {name: codes_N.tolist() for name, codes_N in documents.items()} == by_document(store)


def test_a_table_without_a_column_or_without_a_code_makes_a_store_without_codes(
    server: Server, store: Store, tmp_path: Path
) -> None:
    server.execute(EXISTING.format(type="smallint"))
    written(store)
    content = Postgres().content()
    server.execute("UPDATE cpe_entry SET tmd_code = CASE WHEN chunk_index = 0 THEN -1 END")
    assert Postgres().content() != content
    nothing, record = ingested(tmp_path / "nothing", "reader.tmd_names=lab")
    assert (nothing.codes_N, nothing.tmd, "tmd" in record) == (None, None, False)
    server.execute("DROP TABLE cpe_entry")
    server.execute(EXISTING.format(type="int").replace("tmd_code", "other"))
    assert written(store).losses[0] == "TMD codes"
    assert {document.codes_N for document in Postgres().documents()} == {None}


def test_a_store_of_a_table_of_names_takes_no_codes_that_nothing_names(
    server: Server, store: Store, tmp_path: Path
) -> None:
    written(store)
    named = f"reader.tmd_names={names_file(tmp_path)}"
    ingested(tmp_path / "out", named, "reader.filters={dataset_source: wiki}")
    more = ("append=true", "reader.filters={dataset_source: news}")
    sentence = r"has its TMD codes by a table of names and the reader by no table; give the reader the store's"
    with pytest.raises(UserError, match=sentence):
        ingested(tmp_path / "out", *more)
    both, _ = ingested(tmp_path / "out", *more, named)
    assert by_document(both) == by_document(store)


Fault = tuple[str, str, dict[str, Any], str]
FAULTS: list[Fault] = [
    ("an odd number", "UPDATE cpe_entry SET tmd_code = 17 WHERE chunk_index = 1", {}, r"tmd_code of cpe_entry holds 17, and a TMD code is even, .* reader.tmd=null, and give the chunks codes with `lvm-lab tmd`\."),
    ("too large a number", "UPDATE cpe_entry SET tmd_code = 70000 + chunk_index", {}, r"holds 70000, 70001, 70002, and a TMD code is"),
    ("a number too far below 0", "UPDATE cpe_entry SET tmd_code = -32770 WHERE chunk_index = 1", {}, r"holds -32770, and"),
    ("a code without a name", "", {"tmd_names": "names.yaml"}, r"tmd_code of cpe_entry has TMD codes that reader.tmd_names=.*names.yaml has no name for \(domains: number \d+.*\); name the table by which"),
    ("another type", "ALTER TABLE cpe_entry ALTER tmd_code TYPE text", {}, r"tmd_code of cpe_entry is of the type text, .* or leave it out with reader.tmd=null\."),
    ("no such column", "", {"tmd": "code"}, r"and not code; set reader.tmd to what it is called\."),
    ("names and no column", "ALTER TABLE cpe_entry DROP tmd_code", {"tmd_names": "lab"}, r"and not tmd_code; set reader.tmd to"),
    ("names of nothing", "", {"tmd": None, "tmd_names": "lab"}, r"reader.tmd=null takes none; leave one of the two out\."),
    ("no such file of names", "", {"tmd_names": "nowhere.yaml"}, r"nowhere.yaml cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "sentence"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_what_are_no_codes_is_told_in_a_sentence_before_anything_is_encoded(
    server: Server,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    settings: dict[str, Any],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    names_file(tmp_path, 3)
    written(store)
    if change:
        server.execute(change)
    with pytest.raises(UserError) as told:
        Postgres(**settings).content()
    assert re.search(sentence, str(told.value)), told.value


def test_a_column_of_texts_takes_no_codes(server: Server, store: Store) -> None:
    server.execute(EXISTING.format(type="text"))
    with pytest.raises(
        UserError, match="tmd_code of cpe_entry is of the type text, which holds no tmd of a store; name"
    ):
        written(store)


UUIDS = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(row))) for row in range(ROWS)]
WORDS = [f"chunk-{row}" for row in range(ROWS)]


@pytest.mark.parametrize(("ids", "type"), [(UUIDS, "uuid"), (WORDS, "text")], ids=["UUIDs", "words"])
def test_chunks_keep_the_ids_that_the_store_has_for_them(
    server: Server, tmp_path: Path, ids: list[str], type: str
) -> None:
    written(coded_store(tmp_path / "store", ids))
    rows = server.execute(
        "SELECT pg_typeof(cpe_id)::text, cpe_id::text FROM cpe_entry ORDER BY article_index, chunk_index"
    )
    assert rows == [(type, name) for name in ids]


@pytest.mark.parametrize(
    "ids", [[*UUIDS[1:], UUIDS[1]], [*UUIDS[1:], ""], WORDS], ids=["twice", "one without", "words"]
)
def test_ids_that_name_not_each_chunk_or_fit_no_column_are_made(server: Server, tmp_path: Path, ids: list[str]) -> None:
    server.execute(EXISTING.format(type="int"))
    losses = written(coded_store(tmp_path / "store", ids)).losses
    assert ("ids of chunks" in losses) == (ids == WORDS)
    made = {name for (name,) in server.execute("SELECT cpe_id::text FROM cpe_entry")}
    assert len(made) == ROWS
    assert not made & set(ids)
