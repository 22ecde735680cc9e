"""`export-data STORE into=postgres` against a real server: all rows or none, swapped at once, gone on with."""

# A case is a line.
# ruff: noqa: E501
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.documents import make_documents
from helpers.postgres import Server
from lvm_lab import export_data
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.postgres import writing
from lvm_lab.data.postgres.columns import Columns
from lvm_lab.data.store import Documents, Store, write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.export_postgres import Settings, export
from lvm_lab.text.readers.postgres import Postgres

D = 4
EXISTING = """CREATE TABLE cpe_entry (cpe_id {id}, concept_text text, concept_vec {vector}, dataset_source text,
article_index {article}, chunk_index int, echo_score real DEFAULT .5); GRANT ALL ON cpe_entry TO keeper"""
COUNT = "SELECT dataset_source, count(*) FROM cpe_entry GROUP BY 1 ORDER BY 1"


def store_of(folder: Path, lengths: list[int], sources: list[str], *, dtype: Any = np.float16, seed: int = 0) -> Store:
    made = make_documents(lengths, ids=[str(number) for number in range(len(lengths))])
    documents = Documents(made.id, [f"T{i}" for i in made.id], sources, made.start, made.length)
    vectors_ND = np.random.default_rng(seed).standard_normal((sum(lengths), D)).astype(dtype)
    texts = [f"chunk {row}" for row in range(sum(lengths))]
    return write_store(folder, vectors_ND, documents, EncoderContract(encoder="e"), texts=texts)


def written(store: Store, *, agree: Callable[[str], bool] = lambda question: False, **settings: Any) -> writing.Written:
    return export(store.path, Settings(**settings), agree, lambda rows, total: None)


def left_beside(server: Server) -> list[str]:
    return [name for (name,) in server.execute("SELECT relname FROM pg_class WHERE relname LIKE 'lvm_lab_%'")]


def assert_holds(store: Store, **settings: Any) -> None:
    """Whether the table gives back the store's documents, to the last bit."""
    documents = {(d.source, d.id): d for d in Postgres(**settings).documents()}
    table, texts = store.documents, store.texts()
    assert len(documents) == len(table)
    for source, name, start, length in zip(table.source, table.id, table.start, table.length, strict=True):
        document = documents[source, name]
        rows = slice(start, start + length)
        assert document.vectors_ND is not None
        assert document.vectors_ND.astype(store.vectors_ND.dtype).tobytes() == store.vectors_ND[rows].tobytes()
        assert list(document.paragraphs) == (texts or [""] * 99)[rows]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_table_that_is_not_there_is_made_and_gives_the_store_back(server: Server, tmp_path: Path, dtype: Any) -> None:
    store = store_of(tmp_path / "store", [3, 1, 4], ["wiki", "wiki", "news"], dtype=dtype)
    assert export_data.main([str(store.path), "into=postgres"]) == 0
    assert_holds(store)
    assert {d.title for d in Postgres().documents()} == {"T0", "T1", "T2"}
    columns = dict(server.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                                  "WHERE attrelid = 'cpe_entry'::regclass AND attnum > 0"))  # fmt: skip
    assert (columns["concept_vec"], columns["cpe_id"], columns["article_index"]) == (f"vector({D})", "uuid", "bigint")
    assert left_beside(server) == []


@pytest.mark.parametrize("id", ["uuid", "bigint", "bigserial", "int GENERATED ALWAYS AS IDENTITY", "text"])
@pytest.mark.parametrize(
    ("vector", "article"), [("real[]", "int"), ("vector", "text"), ("double precision[]", "bigint")]
)
def test_a_table_that_is_there_is_added_to(server: Server, tmp_path: Path, id: str, vector: str, article: str) -> None:
    server.execute(EXISTING.format(id=f"{id} UNIQUE", vector=vector, article=article))
    server.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO keeper")
    one = store_of(tmp_path / "one", [3, 2], ["wiki", "wiki"])
    other = store_of(tmp_path / "other", [4], ["news"], seed=1)
    assert written(one).losses == ["titles", "what made the vectors"]
    written(other)
    assert server.execute(COUNT) == [("news", 4), ("wiki", 5)]
    assert_holds(one, filters={"dataset_source": "wiki"})
    assert_holds(other, filters={"dataset_source": "news"})
    names = [name for (name,) in server.execute("SELECT cpe_id::text FROM cpe_entry")]
    assert len(set(names)) == 9
    if "int" in id or "serial" in id:
        assert sorted(map(int, names)) == list(range(1, 10))
    assert server.execute("SELECT DISTINCT echo_score FROM cpe_entry") == [(0.5,)]


def test_an_export_names_a_chunk_alike_each_time(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [3, 2], ["wiki", "wiki"])
    names = []
    for _ in range(2):
        written(store, replace="wiki", agree=lambda question: True)
        names.append(sorted(server.execute("SELECT cpe_id FROM cpe_entry")))
    assert names[0] == names[1]


def test_a_source_is_replaced_after_its_count_was_agreed_to(server: Server, tmp_path: Path) -> None:
    old = store_of(tmp_path / "old", [3, 2, 4], ["wiki", "wiki", "news"])
    new = store_of(tmp_path / "new", [6, 2], ["wiki", "news"], seed=1)
    written(old)
    with pytest.raises(UserError, match=r"cpe_entry has \d rows of \w+ already; replace=\w+ puts the store's in"):
        written(new)
    questions: list[str] = []
    with pytest.raises(
        UserError, match="cpe_entry has 5 rows of wiki and 6 take their place; nothing was changed, and"
    ):
        written(new, replace="wiki", agree=lambda question: bool(questions.append(question)))
    assert questions == ["cpe_entry has 5 rows of wiki and 6 take their place; go on?"]
    assert server.execute(COUNT) == [("news", 4), ("wiki", 5)]
    assert left_beside(server) == []
    assert export_data.main([str(new.path), "into=postgres", "replace=wiki", "yes=true"]) == 0
    assert server.execute(COUNT) == [("news", 4), ("wiki", 6)]
    (document,) = Postgres(filters={"dataset_source": "wiki"}).documents()
    assert document.vectors_ND is not None
    assert document.vectors_ND.astype(np.float16).tobytes() == new.vectors_ND[:6].tobytes()


def test_what_came_between_question_and_swap_is_not_thrown_away(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path / "store", [3], ["wiki"])
    written(store)
    other = (
        "INSERT INTO cpe_entry SELECT gen_random_uuid(), 'mine', concept_vec, 'wiki', 9, 0, '' FROM cpe_entry LIMIT 1"
    )
    columns = "(cpe_id, concept_text, concept_vec, dataset_source, article_index, chunk_index, title)"

    def meanwhile(question: str) -> bool:
        server.execute(other.replace("cpe_entry SELECT", f"cpe_entry {columns} SELECT"))
        return True

    with pytest.raises(UserError, match="somebody has written to cpe_entry meanwhile; give the same command again"):
        written(store, replace="wiki", agree=meanwhile)
    assert server.execute(COUNT) == [("wiki", 4)]
    assert left_beside(server) == []


def test_a_server_that_goes_away_in_the_middle_leaves_nothing_and_is_gone_on_with(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_AT_ONCE", 5)
    store = store_of(tmp_path / "store", [10, 10], ["wiki", "wiki"])
    copied: list[int] = []

    def cut(rows: int, total: int) -> None:
        copied.append(rows)
        if sum(copied) == 10:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lvm_lab'")

    sentence = (
        "the database went away .* write cpe_entry; nothing in cpe_entry has changed, and the same command goes on"
    )
    with pytest.raises(UserError, match=sentence):
        export(store.path, Settings(), lambda _: False, cut)
    assert server.execute("SELECT to_regclass('cpe_entry')") == [(None,)]
    assert len(left_beside(server)) == 1
    assert written(store).kept == 10
    assert_holds(store)
    assert left_beside(server) == []


def test_a_server_that_crashes_in_the_middle_loses_no_row_of_the_table(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_AT_ONCE", 5)
    written(store_of(tmp_path / "old", [3], ["wiki"]))
    store = store_of(tmp_path / "store", [10, 10], ["wiki", "wiki"], seed=1)

    def crash(rows: int, total: int) -> None:
        if rows == 5:
            server.stop("immediate")

    with pytest.raises(UserError, match=r"the database went away"):
        export(store.path, Settings(replace="wiki"), lambda _: True, crash)
    with pytest.raises(UserError, match=r"that LVM_LAB_POSTGRES names cannot be reached; set it right"):
        written(store, replace="wiki", agree=lambda _: True)
    server.start()
    assert server.execute(COUNT) == [("wiki", 3)]
    written(store, replace="wiki", agree=lambda _: True)
    assert_holds(store)


Change = tuple[str, str, list[str], str]
REFUSED: list[Change] = [
    ("missing columns", "ALTER TABLE cpe_entry DROP article_index, DROP concept_text", [], "and not concept_text and article_index; name it with text=COLUMN and article=COLUMN, or text=null to leave it out."),
    ("another type", "ALTER TABLE cpe_entry ALTER concept_vec TYPE text", [], "concept_vec of cpe_entry is of the type text; name a column of vector"),
    ("other dims", "ALTER TABLE cpe_entry ALTER concept_vec TYPE vector(7)", [], "is of 7 dims and the store of 4; name another column"),
    ("a column that holds no text", "ALTER TABLE cpe_entry ALTER concept_text TYPE bytea USING NULL", [], "concept_text of cpe_entry is of the type bytea, which holds no text of a store; name another"),
    ("a rule of the table's", "ALTER TABLE cpe_entry ADD CHECK (chunk_index < 2)", [], "the database refuses to write cpe_entry (new row for relation \"cpe_entry\" violates check constraint"),
    ("no right", "REVOKE INSERT ON cpe_entry FROM keeper", [], "the database refuses to write cpe_entry (permission denied for table cpe_entry); nothing in cpe_entry has changed"),
    ("a source that is not there", "", ["replace=news"], "store has no documents of news; replace one of wiki."),
    ("an unknown setting", "", ["tabel=x"], "tabel does not exist (did you mean table?)"),
    ("a word", "", ["cpe_entry"], "a word without = does not exist"),
    ("another place", "", ["into=mysql"], "into=mysql is nothing that a store is written into; take into=postgres"),
    ("a yes that is none", "", ["yes=1"], "yes=1 does not fit; set true or false."),
    ("no dataset", "", ["dataset=null"], "dataset=null would leave out what makes rows a store; name a column."),
    ("an address", "", ["table=postgresql://me:hush@h/d"], "table holds an address or a password, which settings leave in files"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_mistakes_are_told_in_a_sentence_and_leave_the_table_as_it_was(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, words: list[str], sentence: str
) -> None:
    server.execute(EXISTING.format(id="uuid", vector="vector", article="text"))
    if change:
        server.execute(change)
    store = store_of(tmp_path / "store", [3, 2], ["wiki", "wiki"])
    into = [] if any(word.startswith("into=") for word in words) else ["into=postgres"]
    assert export_data.main([str(store.path), *into, *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(re.escape(sentence), error), error
    assert "hush" not in error
    assert server.execute("SELECT count(*) FROM cpe_entry") == [(0,)]
    assert left_beside(server) == []


def test_documents_called_by_words_go_into_no_column_of_numbers(server: Server, tmp_path: Path) -> None:
    server.execute(EXISTING.format(id="uuid", vector="vector", article="int"))
    made = make_documents([3], ids=["river"])
    store = write_store(tmp_path / "store", np.ones((3, D), np.float32), made, EncoderContract())
    with pytest.raises(
        UserError, match="article_index of cpe_entry is of the type integer and the documents' ids are no"
    ):
        written(store)
    assert left_beside(server) == []


def test_columns_have_other_names(server: Server, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [3, 2], ["wiki", "wiki"])
    names = {
        "text": 'a "text"',
        "vector": "v %",
        "article": "Article",
        "chunk": "place",
        "dataset": "of",
        "title": None,
    }
    settings: dict[str, Any] = {"table": "my_chunks", "columns": Columns(**names)}
    assert written(store, **settings).losses == ["titles", "what made the vectors"]
    assert_holds(store, table="my_chunks", **names)
