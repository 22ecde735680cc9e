"""What is no document, or no such place, is refused in one sentence that names it and ends with the way out."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lvm_lab.errors import UserError
from lvm_lab.text.reader import Reader
from lvm_lab.text.readers.folder import Folder
from lvm_lab.text.readers.hub import Hub
from lvm_lab.text.readers.jsonl import Jsonl
from lvm_lab.text.readers.npz import Npz
from lvm_lab.text.readers.parquet import Parquet

Case = tuple[str, Callable[[Path], Reader], str]
GOOD = '{"id": "a", "text": "Words."}\n'


def jsonl(content: str | bytes, name: str = "a.jsonl", **settings: Any) -> Callable[[Path], Reader]:
    def make(folder: Path) -> Reader:
        file = folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return Jsonl(path=str(file), **settings)

    return make


def rows(*several: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in several)


def place(kind: Callable[..., Reader], build: Callable[[Path], Any]) -> Callable[[Path], Reader]:
    """A reader of what `build` makes at a path."""

    def make(folder: Path) -> Reader:
        path = folder / "place"
        build(path)
        return kind(path=str(path))

    return make


def nothing(path: Path) -> None:
    pass


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "gone")


def in_folder(name: str, build: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def make(path: Path) -> None:
        path.mkdir()
        build(path / name)

    return make


def table(**columns: list[Any]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(pa.table(columns), path)


def cut_table(path: Path) -> None:
    table(id=["a"] * 100, text=["Words."] * 100)(path)
    path.write_bytes(path.read_bytes()[:-20])


def bank(**changes: Any) -> Callable[[Path], None]:
    arrays = {
        "vectors": np.ones((2, 4), np.float32),
        "article_indices": np.zeros(2, int),
        "chunk_indices": np.arange(2),
        "concept_texts": np.array(["a", "b"]),
    }
    kept = {key: value for key, value in (arrays | changes).items() if value is not None}

    def make(path: Path) -> None:
        with open(path, "wb") as file:
            np.savez(file, **kept)

    return make


def chunk(article: Any = 0, number: Any = 0, text: Any = "Words.") -> dict[str, Any]:
    return {"article_index": article, "chunk_index": number, "text": text}


CASES: list[Case] = [
    ("a bad line", jsonl(GOOD + '{"id": "b", "text": '), r"a\.jsonl, line 2 is no JSON"),
    ("a bad line among chunks", jsonl(rows(chunk()) + "{"), r"line 2 is no JSON"),
    ("no object", jsonl(GOOD + "[1, 2]\n"), r"line 2 is JSON but no object"),
    ("deep nesting", jsonl("[" * 200_000), r"line 1 is no JSON"),
    ("no UTF-8", jsonl(GOOD.encode() + b'{"id": "b", "text": "caf\xe9"}\n'), r"line 2 is not UTF-8 \(byte 0xe9"),
    ("UTF-16", jsonl(GOOD.encode("utf-16")), r"line 1 is not UTF-8"),
    ("an empty file", jsonl(""), r"a\.jsonl is empty"),
    ("blank lines alone", jsonl("\n \n"), r"has no document with text"),
    ("empty documents alone", jsonl(rows({"id": "a", "text": " "})), r"has no document with text"),
    ("an id twice", jsonl(GOOD + GOOD), r"the document 'a' of jsonl comes twice"),
    ("no id", jsonl(rows({"text": "Words."})), r"line 1 has no id; .*reader\.id=null"),
    ("an id that names nothing", jsonl(rows({"id": [1], "text": "Words."})), r"has id=\[1\]"),
    ("no text", jsonl(rows({"id": "a", "body": "Words."})), r"line 1 has id, body and no text; .*reader\.text"),
    ("a text that is a number", jsonl(rows({"id": "a", "text": 3})), r"text is 3, which is neither .*; quote it\.$"),
    ("a list with a number", jsonl(rows({"id": "a", "text": ["x", 3]})), r"text is no list of texts; give it one"),
    ("paragraphs that are none", jsonl(rows({"id": "a", "paragraphs": "Words."})), r"paragraphs is no list of texts"),
    ("chunks with a number", jsonl(rows({"id": "a", "chunks": ["x", 1]})), r"chunks is no list of texts"),
    ("a title that is no text", jsonl(rows({"id": "a", "title": 1, "text": "Words."})), r"title is 1, which is no"),
    ("half a surrogate pair", jsonl('{"id": "a", "text": "\\ud800"}\n'), r"half of a surrogate pair"),
    ("a chunk among documents", jsonl(GOOD + rows(chunk())), r"line 2 is a chunk \(article_index\) among documents"),
    ("a document among chunks", jsonl(rows(chunk()) + GOOD), r"line 2 has no article_index"),
    ("a chunk twice", jsonl(rows(chunk(), chunk())), r"line 2: article 0 has chunk 0 twice"),
    ("a chunk without place", jsonl(rows(chunk(0, "first"))), r"chunk_index is 'first'"),
    ("a chunk without text", jsonl(rows(chunk(0, 0, None))), r"line 1 has no text under text"),
    ("no gzip", jsonl(GOOD, "a.jsonl.gz"), r"is no whole gzip file"),
    ("half a gzip", jsonl(gzip.compress(GOOD.encode() * 99, mtime=0)[:40], "a.jsonl.gz"), r"is no whole gzip file"),
    ("no limit", jsonl(GOOD, limit=0), r"reader\.limit=0"),
    ("a sample of how many", jsonl(GOOD, sample="random"), r"reader\.limit=1000"),
    ("no path", lambda _: Jsonl(), r"add reader\.path=documents\.jsonl"),
    ("no file", place(Jsonl, nothing), r"place does not exist"),
    ("a link to nothing", place(Jsonl, link_to_nothing), r"is a link that leads nowhere"),
    ("a folder as a file", place(Jsonl, Path.mkdir), r"is a folder where a file is needed"),
    ("a pipe", place(Jsonl, os.mkfifo), r"is a pipe or a device"),
    ("a device", lambda _: Jsonl(path="/dev/zero"), r"is a pipe or a device"),
    ("a pattern without files", lambda folder: Jsonl(path=f"{folder}/*.jsonl"), r"no file matches"),
    ("a file twice", lambda folder: Jsonl(path=[jsonl(GOOD)(folder).path] * 2), r"named twice in reader\.path"),  # type: ignore[attr-defined]
    ("no folder", place(Folder, nothing), r"place does not exist"),
    ("a file as a folder", place(Folder, lambda path: path.write_text("x")), r"is no folder"),
    ("an empty folder", place(Folder, Path.mkdir), r"has no files that end in \.txt or \.md"),
    ("a text that is no UTF-8", place(Folder, in_folder("a.txt", lambda path: path.write_bytes(b"\xff"))), r"UTF-8"),
    (
        "a name that is no UTF-8",
        place(Folder, in_folder("caf\udce9.txt", lambda path: path.write_text("x"))),
        r"caf\\udce9\.txt' has a name that is not UTF-8; rename it\.$",
    ),
    ("a pipe in a folder", place(Folder, in_folder("a.txt", os.mkfifo)), r"a\.txt is no plain file"),
    ("no Parquet", place(Parquet, lambda path: path.write_text("Words.")), r"is not readable as Parquet"),
    ("half a Parquet", place(Parquet, cut_table), r"is not readable as Parquet"),
    ("no column", place(Parquet, table(name=["a"], body=["x"])), r"the columns name, body and not id and text"),
    ("chunks without place", place(Parquet, table(article_index=[0], text=["x"])), r"and not chunk_index"),
    ("an id that is null", place(Parquet, table(id=["a", None], text=["x", "y"])), r"row 1 has no id"),
    ("a folder without Parquet", place(Parquet, Path.mkdir), r"has no files that end in \.parquet"),
    ("no bank", place(Npz, lambda path: path.write_text("Words.")), r"is not a readable \.npz"),
    ("a bank without texts", place(Npz, bank(concept_texts=None)), r"no texts .*encoder=stored reader\.texts=false"),
    ("pickled texts", place(Npz, bank(concept_texts=np.array(["a", None]))), r"has its texts pickled"),
    ("fewer texts", place(Npz, bank(concept_texts=np.array(["a"]))), r"1 texts stand beside 2 rows"),
    ("a bank without order", place(Npz, bank(chunk_indices=None)), r"bank without order"),
    ("windows", place(Npz, bank(vectors=None, contexts=np.ones((2, 3, 4)))), r"is no article bank"),
    ("no data set", place(Hub, in_folder("x.bin", lambda path: path.write_text("x"))), r"cannot be read as a data set"),
    ("no such data set's folder", lambda _: Hub(path="./nowhere"), r"nowhere does not exist"),
    ("a broken data set", place(Hub, in_folder("train.jsonl", lambda p: p.write_text("{"))), r"cannot be read as a"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_damage_is_one_sentence(tmp_path: Path, make: Callable[[Path], Reader], words: str) -> None:
    if "hub" in make.__qualname__.lower() or "cannot be read as" in words:
        pytest.importorskip("datasets", reason="needs the extra text")
    reader = make(tmp_path)
    with pytest.raises(UserError) as caught:
        list(reader.documents())
    message = str(caught.value)
    assert re.search(words, message), message
    assert message.endswith(".")
    assert "\n" not in message
    # The way out stands behind a semicolon or, of what is missing, a colon.
    assert re.search(r"[;:] ", message), message


def test_there_are_many_cases() -> None:
    assert len({name for name, *_ in CASES}) == len(CASES) >= 40


def test_a_file_without_rights_is_told(tmp_path: Path) -> None:
    reader = jsonl(GOOD)(tmp_path)
    (tmp_path / "a.jsonl").chmod(0)
    if os.access(tmp_path / "a.jsonl", os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(UserError, match="may not be read"):
        list(reader.documents())
