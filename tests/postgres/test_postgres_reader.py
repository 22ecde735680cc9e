"""`reader=postgres` against a real server: rows to documents in order, vectors as they are, and what is refused."""

# A case is a line.
# ruff: noqa: E501
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.postgres import Server
from lvm_lab.data.postgres import reading
from lvm_lab.errors import UserError
from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.readers.postgres import Postgres

D = 4
COLUMNS = "cpe_id {id}, concept_text text, concept_vec {vector}, dataset_source text, article_index {article}, chunk_index int"


def unit(rows: int, dim: int = D) -> np.ndarray:
    return np.random.default_rng(dim).standard_normal((rows, dim)).astype(np.float32)


def fill(
    server: Server,
    *,
    vector: str = "vector",
    id: str = "int",
    article: str = "int",
    articles: int = 6,
    chunks: int = 3,
    source: Callable[[int], str] = lambda article: "user_input" if article % 2 else "wiki",
) -> np.ndarray:
    """A table whose rows come in no order; the vector of article a's chunk c is row 3a + c."""
    server.execute(f"CREATE TABLE cpe_entry ({COLUMNS.format(id=id, vector=vector, article=article)})")
    server.execute("GRANT ALL ON cpe_entry TO keeper")
    vectors_ND = unit(articles * chunks)
    rows = []
    for row in np.random.default_rng(0).permutation(articles * chunks).tolist():
        a, c = divmod(row, chunks)
        name = f"00000000-0000-0000-0000-{row:012d}" if id == "uuid" else row
        numbers = ",".join(map(repr, vectors_ND[row].tolist()))
        literal = f"[{numbers}]" if vector.startswith("vector") else f"{{{numbers}}}"
        rows.append([name, f"chunk {c} of {a}", literal, source(a), a, 10 * c])
    server.insert(f"INSERT INTO cpe_entry VALUES (%s, %s, %s::{vector}, %s, %s, %s)", rows)
    return vectors_ND


def read(**settings: Any) -> list[Document]:
    return list(Postgres(**settings).documents())


@pytest.mark.parametrize(
    ("vector", "id"),
    [("vector", "uuid"), (f"vector({D})", "int"), ("real[]", "bigint"), ("double precision[]", "text")],
)
def test_rows_are_documents_in_order_with_their_vectors(server: Server, vector: str, id: str) -> None:
    vectors_ND = fill(server, vector=vector, id=id)
    documents = read()
    assert [(d.source, d.id) for d in documents] == [("user_input", a) for a in "135"] + [("wiki", a) for a in "024"]
    for document in documents:
        first = 3 * int(document.id)
        assert document.paragraphs == tuple(f"chunk {c} of {document.id}" for c in range(3))
        assert document.chunked
        np.testing.assert_array_equal(document.vectors_ND, vectors_ND[first : first + 3])
        assert document.vectors_ND is not None
        assert document.vectors_ND.dtype == np.float32


def test_filters_take_rows_of_a_value_or_of_several(server: Server) -> None:
    fill(server)
    assert [d.id for d in read(filters={"dataset_source": "user_input"})] == ["1", "3", "5"]
    assert [d.id for d in read(filters={"dataset_source": "wiki", "article_index": [0, 4]})] == ["0", "4"]
    assert [d.paragraphs for d in read(filters={"chunk_index": [0, None], "article_index": "2"})] == [("chunk 0 of 2",)]


def test_columns_have_other_names_and_a_view_serves(server: Server) -> None:
    fill(server)
    server.execute('CREATE SCHEMA "Field"; GRANT USAGE ON SCHEMA "Field" TO keeper')
    select = 'SELECT concept_text "Text %", concept_vec v, cpe_id AS "order", article_index > 2 AS half FROM cpe_entry'
    try:
        server.execute(f'CREATE VIEW "Field".rows AS {select}; GRANT SELECT ON "Field".rows TO keeper')
        names = {"text": "Text %", "vector": "v", "article": "half", "chunk": "order"}
        documents = read(table="Field.rows", **names)
        assert [(d.id, d.source, len(d.paragraphs)) for d in documents] == [
            ("False", "postgres", 9),
            ("True", "postgres", 9),
        ]
        assert documents[1].paragraphs[0] == "chunk 0 of 3"
    finally:
        server.execute('DROP SCHEMA "Field" CASCADE')


def test_texts_alone_and_vectors_alone(server: Server) -> None:
    fill(server)
    assert all(d.vectors_ND is None for d in read(vector=None))
    assert read(text=None)[0].paragraphs == ("", "", "")
    assert read(text=None)[0].vectors_ND is not None


def test_rows_without_order_are_documents_of_one_chunk(server: Server) -> None:
    vectors_ND = fill(server, id="uuid")
    documents = read(article=None)
    assert len(documents) == 18
    assert all(len(d.paragraphs) == 1 for d in documents)
    last = max(documents, key=lambda d: d.id)
    assert (last.id, last.paragraphs) == ("00000000-0000-0000-0000-000000000017", ("chunk 2 of 5",))
    np.testing.assert_array_equal(last.vectors_ND, vectors_ND[17:])


@pytest.mark.parametrize("seed", [0, 1])
def test_a_sample_is_what_every_reader_would_draw_and_reads_no_other_vector(
    server: Server, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server, articles=30)
    sample = read(limit=7, sample="random", seed=seed)
    crossed: list[str] = []
    stream = reading.Snapshot.stream
    monkeypatch.setattr(
        reading.Snapshot, "stream", lambda self, *given: (crossed.append("row") or row for row in stream(self, *given))
    )
    mine = Postgres(limit=7, sample="random", seed=seed)
    assert [d.id for d in mine.documents()] == [d.id for d in sample]
    assert crossed.count("row") == 30 + 7 * 3, "names of all documents, rows of seven"
    monkeypatch.setattr(Postgres, "_draw", Collection._draw)
    assert [d.id for d in read(limit=7, sample="random", seed=seed)] == [d.id for d in sample]


def test_the_content_is_of_the_rows_and_not_of_their_place(server: Server) -> None:
    fill(server)
    content = Postgres().content()
    server.execute("CREATE TABLE other AS SELECT * FROM cpe_entry ORDER BY chunk_index; GRANT ALL ON other TO keeper")
    assert Postgres(table="other").content() == content
    assert Postgres(filters={"dataset_source": "wiki"}).content() != content
    for change in ("concept_text = 'other'", "concept_vec = '[1,2,3,4]'", "article_index = 9", "chunk_index = 5"):
        server.execute("DROP TABLE other; CREATE TABLE other AS SELECT * FROM cpe_entry; GRANT ALL ON other TO keeper")
        server.execute(f"UPDATE other SET {change} WHERE cpe_id = 4")
        assert Postgres(table="other").content() != content, change


def test_a_reader_sees_the_table_of_one_moment(server: Server) -> None:
    fill(server)
    reader = Postgres()
    before = reader.content()
    server.execute("UPDATE cpe_entry SET concept_text = 'changed'")
    assert reader.content() == before
    assert "changed" not in {text for d in reader.documents() for text in d.paragraphs}
    assert Postgres().content() != before


def test_a_column_may_be_of_two_uses(server: Server) -> None:
    """Ids that grow are an order, too."""
    fill(server)
    documents = read(chunk="cpe_id")
    assert [document.paragraphs[0] for document in documents] == [f"chunk 0 of {a}" for a in "135024"]
    assert [d.id for d in read(article="dataset_source", chunk="cpe_id")] == ["user_input", "wiki"]


Fault = tuple[str, str, dict[str, Any], str]
FAULTS: list[Fault] = [
    ("no table", "ALTER TABLE cpe_entry RENAME TO entries", {}, r"no table or view cpe_entry; name one as reader.table \(there are entries\)\."),
    ("no order", "ALTER TABLE cpe_entry DROP article_index, DROP chunk_index", {}, r"and not article_index and chunk_index; set reader.article and reader.chunk .* or reader.article=null to read each row as a document of one chunk\."),
    ("no vector", "ALTER TABLE cpe_entry DROP concept_vec", {}, r"and not concept_vec; set reader.vector .*, or reader.vector=null for texts alone\."),
    ("no text", "ALTER TABLE cpe_entry DROP concept_text", {}, r"and not concept_text; set reader.text .*, or reader.text=null for vectors alone\."),
    ("no such title", "", {"title": "head"}, r"and not head; set reader.title to what it is called\."),
    ("no such filter", "", {"filters": {"kind": "x"}}, r"and not kind; name columns of it in reader.filters\."),
    ("a filter of another type", "", {"filters": {"article_index": "one"}}, r"refuses to read cpe_entry \(invalid input syntax for type integer: \"one\"\); set the reader's table, columns and filters"),
    ("nothing fits", "", {"filters": {"dataset_source": "news"}}, r"no row of cpe_entry has .*; set reader.table and reader.filters"),
    ("no rows", "DELETE FROM cpe_entry", {}, r"cpe_entry has no rows; set "),
    ("a NULL vector", "UPDATE cpe_entry SET concept_vec = NULL WHERE article_index = 2", {}, r"3 rows without a whole vector in concept_vec, cpe_id 6 among them; encode them, .* reader.vector=null"),
    ("several dims", "UPDATE cpe_entry SET concept_vec = '[1,2]' WHERE article_index = 2", {}, r"vectors of several dims, 2 \(3 rows\), 4 \(15 rows\); read those of one encoder"),
    ("no place", "UPDATE cpe_entry SET chunk_index = NULL WHERE cpe_id < 2", {}, r"2 rows without chunk_index; fill it"),
    ("no article", "UPDATE cpe_entry SET article_index = NULL WHERE cpe_id < 2", {}, r"2 rows without article_index; fill it"),
    ("a place twice", "UPDATE cpe_entry SET chunk_index = 10 WHERE cpe_id = 6", {}, r"article_index 2 has chunk_index 10 twice; keep one row"),
    ("an id twice", "UPDATE cpe_entry SET cpe_id = 0 WHERE cpe_id = 2", {"article": None}, r"cpe_id 0 comes twice; keep one row"),
    ("a vector of another type", "", {"vector": "concept_text"}, r"concept_text of cpe_entry is of the type text; name a column of vector, real\[\], double"),
    ("no right", "REVOKE ALL ON cpe_entry FROM keeper", {}, r"refuses to read cpe_entry \(permission denied for table cpe_entry\); set .* or have it allow that\."),
    ("nothing to read", "", {"text": None, "vector": None}, r"leave nothing to read; name one of the two"),
    ("an address as a table", "", {"table": "postgresql://me:hush@host/db"}, r"reader.table holds an address or a password"),
    ("a password in a setting", "", {"origin": "host=h password=hush"}, r"reader.origin holds an address or a password"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "sentence"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_what_is_no_table_of_chunks_is_told_in_a_sentence(
    server: Server, change: str, settings: dict[str, Any], sentence: str
) -> None:
    fill(server)
    if change:
        server.execute(change)
    with pytest.raises(UserError) as told:
        read(**settings)
    assert re.search(sentence, str(told.value)), told.value
    assert "hush" not in str(told.value)


@pytest.mark.parametrize("broken", ["{1,2,NULL,4}", "{{1,2},{3,4}}", "{}"])
def test_an_array_that_is_no_vector_is_told(server: Server, broken: str) -> None:
    fill(server, vector="real[]")
    server.execute("UPDATE cpe_entry SET concept_vec = %s WHERE cpe_id = 7", [broken])
    with pytest.raises(UserError, match=r"1 rows without a whole vector in concept_vec, cpe_id 7 among them"):
        read()


def test_a_server_that_goes_away_is_told_and_no_half_document_is_given(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server)
    monkeypatch.setattr(reading, "ROWS_AT_ONCE", 4)
    documents = Postgres().documents()
    next(documents)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lvm_lab'")
    with pytest.raises(
        UserError, match=r"the database went away .* read cpe_entry; give the same command again, which"
    ):
        list(documents)
