"""Readers give documents in order, each once, the same ones each time, and a sample that every machine draws alike."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.data.tmd import MISSING, Names
from lvm_lab.errors import UserError
from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.reader import Origin
from lvm_lab.text.readers.folder import Folder
from lvm_lab.text.readers.hub import Hub
from lvm_lab.text.readers.jsonl import Jsonl
from lvm_lab.text.readers.npz import Npz
from lvm_lab.text.readers.parquet import Parquet

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ARTICLES = [
    {"id": "one", "title": "First", "source": "letters", "text": "A line\nand its end.\n\n  \nAnother.  "},
    {"id": "two", "paragraphs": [" A. ", "", "B."]},
    {"id": 3, "chunks": ["x", "y"]},
]
GIVEN = [
    Document("one", "First", "letters", ("A line and its end.", "Another.")),
    Document("two", "", "", ("A.", "B.")),
    Document("3", "", "", ("x", "y"), chunked=True),
]


def write_lines(file: Path, rows: list[Any]) -> str:
    text = "\n".join(json.dumps(row) for row in rows) + "\n"
    file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    return str(file)


def named(documents: list[Document], kind: str) -> list[Document]:
    """With the reader's name where a document has no source of its own."""
    return [Document(d.id, d.title, d.source or kind, d.paragraphs, d.chunked, d.vectors_ND) for d in documents]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines_are_documents(tmp_path: Path, name: str) -> None:
    reader = Jsonl(path=write_lines(tmp_path / name, ARTICLES))
    assert list(reader.documents()) == list(reader.documents()) == named(GIVEN, "jsonl")
    assert reader.skipped() == {}
    assert reader.origins() == [Origin("letters"), Origin("jsonl")]


@pytest.mark.parametrize("row", [{"text": None}, {"paragraphs": None}, {"chunks": None}])
def test_a_document_whose_text_is_null_is_left_out(tmp_path: Path, row: dict[str, Any]) -> None:
    reader = Jsonl(path=write_lines(tmp_path / "a.jsonl", [{"id": 1} | row, *ARTICLES]))
    assert list(reader.documents()) == named(GIVEN, "jsonl")
    assert reader.skipped() == {"without text": 1}


def test_a_byte_order_mark_and_blank_lines_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "Words."}\r\n\r\n   \n{"id": "b", "text": "More."}')
    assert [d.paragraphs for d in Jsonl(path=str(file)).documents()] == [("Words.",), ("More.",)]


def test_several_files_and_a_pattern_are_read_in_order(tmp_path: Path) -> None:
    for name in "cab":
        write_lines(tmp_path / f"{name}.jsonl", [{"id": name, "text": name}])
    ids = [d.id for d in Jsonl(path=str(tmp_path / "*.jsonl")).documents()]
    assert ids == ["a", "b", "c"]
    listed = Jsonl(path=[str(tmp_path / "c.jsonl"), str(tmp_path / "a.jsonl")])
    assert [d.id for d in listed.documents()] == ["c", "a"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a[1].jsonl", [{"id": "a", "text": "Words."}])
    assert len(list(Jsonl(path=path).documents())) == 1


def test_lines_may_be_the_paragraphs(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"id": "a", "text": "One\nTwo\n\nThree"}])
    (document,) = Jsonl(path=path, lines="paragraphs").documents()
    assert document.paragraphs == ("One", "Two", "Three")


def chunk_rows(lengths: list[int], order: list[int]) -> list[dict[str, Any]]:
    rows = [
        {"article_index": article, "chunk_index": 2 * chunk, "text": f"{article}-{chunk}"}
        for article, length in enumerate(lengths)
        for chunk in range(length)
    ]
    return [rows[i] for i in order]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_chunks_are_grouped_wherever_their_lines_stand(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], rng: Any
) -> None:
    order = list(range(sum(lengths)))
    rng.shuffle(order)
    rows = chunk_rows(lengths, order)
    path = write_lines(tmp_path_factory.mktemp("chunks") / "a.jsonl", rows)
    documents = list(Jsonl(path=path).documents())
    assert [d.id for d in documents] == list(dict.fromkeys(str(row["article_index"]) for row in rows))
    for document in documents:
        assert document.chunked
        assert document.paragraphs == tuple(f"{document.id}-{i}" for i in range(lengths[int(document.id)]))


def test_consecutive_chunks_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is given before the lines behind it are read a second time."""
    path = write_lines(tmp_path / "a.jsonl", chunk_rows([2] * 50, list(range(100))))
    reader, read = Jsonl(path=path), []
    rows = reader._rows
    monkeypatch.setattr(reader, "_rows", lambda: (read.append(row) or row for row in rows()))
    assert next(reader.documents()).paragraphs == ("0-0", "0-1")
    assert len(read) <= 100 + 1 + 2


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs ../shared/data")
def test_the_real_files_are_read_whole() -> None:
    articles = list(Jsonl(path=str(REAL_DATA / "wikipedia.jsonl")).documents())
    assert (len(articles), articles[0].source, articles[0].chunked) == (60, "wikipedia", False)
    chunks = list(Jsonl(path=str(REAL_DATA / "wikipedia_chunks.jsonl")).documents())
    assert (len(chunks), sum(len(d.paragraphs) for d in chunks), chunks[0].chunked) == (60, 3667, True)


def test_a_folder_is_read_by_name_without_what_leads_out(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    (root / "b").mkdir(parents=True)
    (root / ".hidden").mkdir()
    (root / "z.txt").write_text("Last.\nStill last.")
    (root / "b" / "x.md").write_text("# Title\n\nProse.")
    (root / "b" / "empty.txt").write_text(" \n")
    (root / ".hidden" / "a.txt").write_text("Not read.")
    (root / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "secret.txt").write_text("Not of this folder.")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "out").symlink_to(tmp_path, target_is_directory=True)
    reader = Folder(path=str(root))
    assert list(reader.documents()) == [
        Document("b/x.md", "Title", "folder", ("Title", "Prose.")),
        Document("z.txt", "z", "folder", ("Last. Still last.",)),
    ]
    assert reader.skipped() == {"without text": 1, "a link that leads out of the folder": 1}


MARKDOWN = """---
title: not this
---
Setext title
===

Prose with *emphasis*, `code`, a [link](http://x.example) and an ![image of a cat](cat.png),
on two lines.\\
Third &amp; last.

- first item
  goes on
- second item

  with a paragraph

      indented code

```python
def fenced(): ...
```

> A quotation.

| a | b |
|---|---|
| 1 | 2 |

<div>html</div>
"""


def test_markdown_is_its_prose(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(MARKDOWN)
    (document,) = Folder(path=str(tmp_path)).documents()
    assert document.title == "Setext title"
    prose = (
        "Setext title",
        "Prose with emphasis, code, a link and an image of a cat, on two lines. Third & last.",
        "first item goes on",
        "second item",
        "with a paragraph",
    )
    assert document.paragraphs == (*prose, "A quotation.")
    (whole,) = Folder(path=str(tmp_path), code=True, tables=True).documents()
    assert whole.paragraphs == (*prose, "indented code", "def fenced(): ...", "A quotation.", "a b", "1 2")


def write_table(file: Path, **columns: list[Any]) -> str:
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return str(file)


def test_parquet_rows_are_documents_under_their_columns_names(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", key=[7, 8, 9], body=["One.\n\nTwo.", None, "Three."], other=[1, 2, 3])
    reader = Parquet(path=path, id="key", text="body")
    assert list(reader.documents()) == [
        Document("7", "", "parquet", ("One.", "Two.")),
        Document("9", "", "parquet", ("Three.",)),
    ]
    assert reader.skipped() == {"without text": 1}
    assert [d.id for d in Parquet(path=path, id=None, text="body").documents()] == ["0", "2"]


def test_a_folder_of_parquet_files_with_chunks_is_grouped(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", article_index=[0, 1], chunk_index=[1, 0], text=["0-1", "1-0"])
    write_table(tmp_path / "b.parquet", article_index=[0], chunk_index=[0], text=["0-0"])
    documents = list(Parquet(path=str(tmp_path)).documents())
    assert [(d.id, d.paragraphs, d.chunked) for d in documents] == [("0", ("0-0", "0-1"), True), ("1", ("1-0",), True)]


def test_lists_in_parquet_are_paragraphs(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", id=["a"], paragraphs=[["One.", "Two."]])
    assert [d.paragraphs for d in Parquet(path=path).documents()] == [("One.", "Two.")]


def test_the_hub_reads_what_save_to_disk_wrote(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra text")
    table = datasets.Dataset.from_dict({"text": ["One.", "Two."], "label": [0, 1]})
    table.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(test=table).save_to_disk(str(tmp_path / "split"))
    reader = Hub(path=str(tmp_path / "one"), id=None)
    assert [(d.id, d.source, d.paragraphs) for d in reader.documents()] == [
        ("0", "hub", ("One.",)),
        ("1", "hub", ("Two.",)),
    ]
    assert len(list(Hub(path=str(tmp_path / "split"), split="test", id=None).documents())) == 2
    with pytest.raises(UserError, match=r"has the splits test and no train; set reader.split\."):
        list(Hub(path=str(tmp_path / "split"), id=None).documents())


def test_the_hub_reads_a_folder_of_data_files_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra text")
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "files"
    folder.mkdir()
    write_lines(folder / "train.jsonl", [{"id": "a", "text": "One."}, {"id": "b", "text": "Two."}])
    write_lines(folder / "test.jsonl", [{"id": "c", "text": "Three."}])
    reader = Hub(path=str(folder))
    assert [d.paragraphs for d in reader.documents()] == [("One.",), ("Two.",)]
    assert [d.id for d in Hub(path=str(folder), split="test").documents()] == ["c"]
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.suffix != ".lock" and file.is_file()]


def test_a_name_on_the_hub_is_streamed_at_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library is asked for; the network itself is no part of a test."""
    datasets = pytest.importorskip("datasets", reason="needs the extra text")
    hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, Any] = {}

    class Api:
        def dataset_info(self, name: str, revision: str | None) -> Any:
            return hub.hf_api.DatasetInfo(
                id=name, sha=f"commit of {revision}", private=False, downloads=0, likes=0, tags=[]
            )

    def load(*args: Any, **keys: Any) -> Any:
        asked.update(keys, args=args)
        return datasets.Dataset.from_dict({"id": ["a"], "text": ["One."]}).to_iterable_dataset()

    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", load)
    reader = Hub(path="owner/name", config="en", revision="v1")
    assert [d.id for d in reader.documents()] == ["a"]
    assert asked == {"args": ("owner/name", "en"), "split": "train", "revision": "commit of v1", "streaming": True}
    assert reader.content() != Hub(path="owner/name", config="en", revision="v2").content()


def bank(rows: int = 6) -> dict[str, np.ndarray]:
    return {
        "vectors": np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32),
        "article_indices": np.array([5, 4, 5, 4, 5, 4])[:rows],
        "chunk_indices": np.array([1, 0, 0, 2, 3, 1])[:rows],
        "concept_texts": np.array(["5b", "4a", "5a", "4c", "5c", "4b"])[:rows],
    }


def test_a_bank_gives_its_chunks_with_their_vectors(tmp_path: Path) -> None:
    arrays = bank()
    np.savez(tmp_path / "bank.npz", **arrays)
    documents = list(Npz(path=str(tmp_path / "bank.npz")).documents())
    assert [(d.id, d.paragraphs, d.chunked) for d in documents] == [
        ("4", ("4a", "4b", "4c"), True),
        ("5", ("5a", "5b", "5c"), True),
    ]
    assert (documents[1].vectors_ND == arrays["vectors"][[2, 0, 4]]).all()


def test_an_empty_chunk_goes_with_its_vector(tmp_path: Path) -> None:
    arrays = bank() | {"concept_texts": np.array(["5b", "4a", "", "4c", "5c", " "])}
    np.savez(tmp_path / "bank.npz", **arrays)
    four, five = Npz(path=str(tmp_path / "bank.npz")).documents()
    assert (four.paragraphs, five.paragraphs) == (("4a", "4c"), ("5b", "5c"))
    assert (four.vectors_ND == arrays["vectors"][[1, 3]]).all()


def test_a_bank_without_texts_gives_its_vectors_where_they_are_asked_for(tmp_path: Path) -> None:
    arrays = bank()
    del arrays["concept_texts"]
    np.savez(tmp_path / "bank.npz", **arrays)
    four, _ = Npz(path=str(tmp_path / "bank.npz"), texts=False).documents()
    assert four.paragraphs == ("", "", "")
    assert (four.vectors_ND == arrays["vectors"][[1, 5, 3]]).all()


NAMES = {"tmd_domains": np.array(["a", "b"]), "tmd_tasks": np.array(["c"]), "tmd_modifiers": np.array(["d", "e"])}


def test_a_bank_gives_its_chunks_their_codes(tmp_path: Path) -> None:
    """In the order of the chunks, without those of empty ones, with the names of the bank or of the setting."""
    texts = np.array(["5b", "4a", "", "4c", "5c", "4b"])
    codes = {"tmd_codes": np.array([2, 4096, 4098, -1, 0, 4096])}
    path = str(tmp_path / "bank.npz")
    np.savez(path, **bank(), **codes)
    plain = Npz(path=path).content()
    np.savez(path, **bank() | {"concept_texts": texts}, **codes, **NAMES)
    reader = Npz(path=path)
    four, five = reader.documents()
    assert [d.codes_N.tolist() for d in (four, five)] == [[4096, 4096, MISSING], [2, 0]]  # type: ignore[union-attr]
    assert reader.tmd_table() == Names(("a", "b"), ("c",), ("d", "e"))
    assert reader.content() != plain
    without = Npz(path=path, tmd=None)
    assert without.tmd_table() is None
    assert {d.codes_N for d in without.documents()} == {None}
    # What was ingested of it before codes came along is what it was.
    np.savez(path, **bank())
    bare = Npz(path=path)
    assert bare.tmd_table() is None
    assert bare.content() == Npz(path=path, tmd=None).content()
    np.savez(path, **bank(), tmd_codes=np.full(6, -1))
    assert Npz(path=path).tmd_table() is None


def test_codes_of_a_bank_that_no_name_fits_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "bank.npz")
    (tmp_path / "names.yaml").write_text("domains: [a]\ntasks: [c]\nmodifiers: [d, e]\n")
    np.savez(path, **bank(), tmd_codes=np.array([2, 4096, 4098, -1, 0, 4096]))
    assert Npz(path=path).tmd_table() == Names()
    assert Npz(path=path, tmd_names="lab").tmd_table()
    with pytest.raises(UserError, match=r"no name for \(domains: number 1\); name the table"):
        Npz(path=path, tmd_names=str(tmp_path / "names.yaml")).content()
    with pytest.raises(UserError, match=r"reader\.tmd takes none; leave one of the two out"):
        Npz(path=path, tmd=None, tmd_names="lab").content()
    np.savez(path, **bank(), tmd_codes=np.array([1, 3, 5, 7, 9, 11]))
    with pytest.MonkeyPatch.context() as patch:
        # A command of another test may have taken it.
        patch.setattr(logging.getLogger("lvm_lab"), "propagate", True)
        assert Npz(path=path).tmd_table() is None
    assert "tmd_codes are left out, since they are no TMD codes" in caplog.text


@dataclass(kw_only=True)
class Numbers(Collection):
    """`count` documents, every third without text."""

    kind: ClassVar[str] = "numbers"
    places: ClassVar[tuple[str, ...]] = ("path",)

    count: int = 30
    path: str = ""

    def _read(self) -> Iterator[Document]:
        for i in range(self.count):
            yield Document(str(i), "", "", ("",) if i % 3 == 2 else (f"text {i}",))

    def _digest(self) -> str:
        return str(self.count)


def ids(reader: Collection) -> list[int]:
    return [int(document.id) for document in reader.documents()]


def test_a_limit_takes_the_first_documents_that_have_text() -> None:
    assert ids(Numbers(limit=4)) == [0, 1, 3, 4]
    reader = Numbers(limit=100)
    assert len(ids(reader)) == 20
    assert reader.skipped() == {"without text": 10}


def test_a_sample_is_of_the_whole_in_reading_order_and_the_same_everywhere() -> None:
    # Written down once: another machine, version or process draws the same.
    assert ids(Numbers(limit=6, sample="random", seed=0)) == [0, 10, 12, 18, 19, 25]
    reader = Numbers(limit=6, sample="random", seed=1)
    assert ids(reader) == ids(reader) == sorted(ids(reader)) != [0, 10, 12, 18, 19, 25]
    assert reader.skipped() == {"without text": sum(i % 3 == 2 for i in range(max(ids(reader))))}
    assert ids(Numbers(limit=100, sample="random")) == ids(Numbers())


def test_a_sample_of_more_documents_holds_the_smaller_one() -> None:
    few, many = (set(ids(Numbers(count=300, limit=n, sample="random", seed=3))) for n in (20, 60))
    assert few < many
    assert len(many) == 60
    # Over the whole, and not its beginning: the mean of 60 draws of 0..299 within five standard errors of the middle.
    assert abs(np.mean(list(many)) - 149.5) < 5 * 86.6 / 60**0.5


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"path": "elsewhere"}, True), ({"count": 31}, False), ({"limit": 3}, False), ({"seed": 1}, False),
     ({"source": "mine"}, False)],
)  # fmt: skip
def test_the_content_is_what_is_read_and_not_where_it_lies(change: dict[str, Any], same: bool) -> None:
    assert (Numbers(**change).content() == Numbers().content()) is same


@pytest.mark.parametrize(("kind", "name"), [(Jsonl, "a.jsonl"), (Folder, ""), (Parquet, "a.parquet"), (Npz, "a.npz")])
def test_the_content_follows_the_files(tmp_path: Path, kind: Any, name: str) -> None:
    """Equal bytes are equal content wherever they lie, and one byte more is another."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "x.txt").write_text("Words.")
        write_lines(folder / "a.jsonl", ARTICLES)
        write_table(folder / "a.parquet", id=["a"], text=["One."])
    np.savez(one / "a.npz", **bank())
    (other / "a.npz").write_bytes((one / "a.npz").read_bytes())
    content = kind(path=str(one / name)).content()
    assert kind(path=str(other / name)).content() == content
    for file in other.iterdir():
        file.write_bytes(file.read_bytes() + b"\n")
    assert kind(path=str(other / name)).content() != content


def test_a_source_that_is_named_is_every_documents(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", ARTICLES)
    reader = Jsonl(path=path, source="mine", licence="CC-BY-4.0", origin="https://example.org")
    assert {d.source for d in reader.documents()} == {"mine"}
    assert reader.origins() == [Origin("mine", "CC-BY-4.0", "https://example.org")]
    assert Jsonl(path=path).origins() == [Origin("letters")], "read no further than the first document"
