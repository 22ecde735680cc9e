"""A store is written whole or not at all, says what is wrong with it, and knows its documents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.documents import make_documents
from lvm_lab.data import part_files
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, open_store, write_store
from lvm_lab.errors import UserError

CONTRACT = EncoderContract(
    encoder="gtr", pooling="mean", dense=True, normalised=False, probes={"hello": [1.0, 0.0, 0.5]}
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_store_comes_back_as_it_was_written(make_store, dtype):
    vectors = np.random.default_rng(0).standard_normal((9, 6)).astype(dtype)
    texts = [f"chunk {i}: ü\n" for i in range(9)]
    written = make_store([4, 5], vectors_ND=vectors, contract=CONTRACT, texts=texts, isolated=True)
    for found in (written, open_store(written.path, verify=True)):
        assert isinstance(found.vectors_ND, np.memmap)
        assert not found.vectors_ND.flags.writeable
        assert found.vectors_ND.dtype == dtype
        assert np.array_equal(found.vectors_ND, vectors)
        assert found.contract == replace(CONTRACT, dim=6, dtype=np.dtype(dtype).name)
        assert (found.isolated, found.dim, found.texts()) == (True, 6, texts)
        expected = make_documents([4, 5])
        for name in ("id", "title", "source", "start", "length"):
            assert list(getattr(found.documents, name)) == list(getattr(expected, name)), name
    (part,) = written.parts
    assert sorted(str(p.relative_to(written.path)) for p in written.path.rglob("*") if p.is_file()) == [
        "manifest.json",
        *(f"parts/{part.name}/{name}" for name in ("chunks.parquet", "documents.parquet", "vectors.npy")),
    ]
    assert part.name == written.content[:16]


def test_a_store_without_texts_says_so(make_store):
    assert make_store([7]).texts() is None


def test_content_names_vectors_and_documents_but_not_the_place(make_store):
    one, same = make_store([4, 5]), make_store([4, 5])
    assert one.path != same.path
    assert one.content == same.content
    others = [make_store([4, 5], seed=1), make_store([5, 4]), make_store([4, 5], ids=["d0", "x"])]
    assert len({one.content, *(o.content for o in others)}) == 4


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch):
    def broken(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(part_files.pq, "ParquetWriter", broken)
    with pytest.raises(OSError, match="disk full"):
        write_store(tmp_path / "deep" / "store", np.ones((3, 2), np.float32), make_documents([3]), CONTRACT)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_write_leaves_no_scaffold_beside_the_store(make_store, tmp_path: Path):
    make_store([6], path=tmp_path / "home" / "store")
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["store"]


def test_the_second_of_two_equal_writers_takes_the_first_ones_store(make_store, tmp_path: Path):
    first = make_store([6], path=tmp_path / "home" / "store")
    second = make_store([6], path=tmp_path / "home" / "store")
    assert first.content == second.content
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["store"]


def test_a_folder_of_someone_elses_is_not_touched(make_store, tmp_path: Path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    with pytest.raises(OSError, match="store"):
        make_store([6], path=tmp_path / "store")
    assert [p.name for p in tmp_path.rglob("*")] == ["store", "thesis.txt"]


def test_another_schema_version_is_refused(make_store):
    store = make_store([6])
    manifest = json.loads((store.path / "manifest.json").read_text())
    assert manifest["schema_version"] == 2
    (store.path / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(UserError, match="schema 99 and this version reads 1 and 2; name a store's folder, or make"):
        open_store(store.path)


@pytest.mark.parametrize("name", ["manifest.json", "vectors.npy", "documents.parquet"])
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
def test_a_damaged_file_becomes_a_sentence(make_store, name, damage):
    store = make_store([6])
    path = store.path
    file = path / name if name == "manifest.json" else store.parts[0] / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b"{garbage" * 9)
    with pytest.raises(UserError, match=r"is not a readable store .*; name a store's folder, or make the store again"):
        open_store(path)


def test_pickled_vectors_are_never_loaded(make_store):
    store = make_store([6])
    np.save(store.parts[0] / "vectors.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="is not a readable store"):
        open_store(store.path)


@pytest.mark.parametrize("where", [-1, -20])
def test_verify_sees_one_changed_byte(make_store, where):
    store = make_store([6])
    open_store(store.path, verify=True)
    file = store.parts[0] / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[where] ^= 1
    file.write_bytes(data)
    open_store(store.path)
    with pytest.raises(UserError, match="does not match the sha256"):
        open_store(store.path, verify=True)


def test_verify_sees_a_changed_table_of_documents(make_store):
    one, other = make_store([4, 5]), make_store([5, 4])
    (one.parts[0] / "documents.parquet").write_bytes((other.parts[0] / "documents.parquet").read_bytes())
    with pytest.raises(UserError, match="does not match the sha256"):
        open_store(one.path, verify=True)


def with_row(row: int, value: float) -> np.ndarray:
    vectors = np.ones((20_000, 2), np.float32)
    vectors[row, 1] = value
    if value == 0:
        vectors[row] = 0
    return vectors


@pytest.mark.parametrize("row", [0, 17_000])
@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (-np.inf, "NaN"), (0, "all zeros")]
)
def test_bad_vectors_are_refused_by_row(tmp_path: Path, row, value, said):
    with pytest.raises(UserError, match=f"vector {row} (holds|is) {said}"):
        write_store(tmp_path / "s", with_row(row, value), make_documents([20_000]), CONTRACT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "vectors",
    [np.ones(6, np.float32), np.ones((3, 2, 1), np.float32), np.ones((6, 2)), np.ones((6, 2), np.int32)],
    ids=["rank 1", "rank 3", "float64", "int32"],
)
def test_a_wrong_rank_or_dtype_is_refused(tmp_path: Path, vectors):
    with pytest.raises(UserError, match="must be N x D in float16 or float32"):
        write_store(tmp_path / "s", vectors, make_documents([3]), CONTRACT)


@pytest.mark.parametrize(("value", "words"), [(1e25, "too long"), (1e-30, "too short")])
def test_finite_vectors_are_neither_nan_nor_zero(tmp_path: Path, value: float, words: str) -> None:
    """Their squares overflow or vanish in float32, and the sentence says so."""
    vectors = np.full((3, 4), value, np.float32)
    with pytest.raises(UserError, match=rf"vector 0 is of length .*, {words} to compute with in float32 .*; scale"):
        write_store(tmp_path / "s", vectors, make_documents([3]), CONTRACT)


def test_vectors_of_one_dimension_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="vectors of 1 dimension have no direction"):
        write_store(tmp_path / "s", np.ones((3, 1), np.float32), make_documents([3]), CONTRACT)


def test_large_float16_vectors_are_no_infinity(make_store):
    """300 squared overflows float16."""
    assert make_store([3], vectors_ND=np.full((3, 4), 300, np.float16)).dim == 4


@pytest.mark.parametrize(("start", "length"), [([0, 4], [4, 5]), ([-1, 3], [4, 5]), ([], [])])
def test_documents_outside_the_rows_are_refused(tmp_path: Path, start, length):
    names = [f"d{i}" for i in range(len(start))]
    documents = Documents(names, names, ["s"] * len(names), np.array(start, int), np.array(length, int))
    with pytest.raises(UserError, match="points outside the 8 vectors"):
        write_store(tmp_path / "s", np.ones((8, 2), np.float32), documents, CONTRACT)


def test_contracts_that_agree_or_say_nothing_do_not_conflict():
    full = replace(CONTRACT, dim=3)
    assert full.conflict(full) is None
    assert full.conflict(EncoderContract(dim=3)) is None
    assert EncoderContract(dim=3).conflict(full) is None
    assert full.conflict(replace(full, dtype="float16")) is None
    assert full.conflict(replace(full, probes={"other": [0.0, 1.0, 0.0]})) is None


@pytest.mark.parametrize(
    ("name", "value"), [("dim", 4), ("encoder", "e5"), ("pooling", "cls"), ("dense", False), ("normalised", True)]
)
def test_contracts_that_contradict_each_other_say_in_what(name, value):
    mine = replace(CONTRACT, dim=3)
    other = replace(mine, **{name: value})
    assert (mine.conflict(other) or "").startswith(f"{name} {getattr(mine, name)} against {value}: gtr, 3 dims")


def test_probe_sentences_tell_encoders_apart_that_have_one_name():
    mine = replace(CONTRACT, dim=3)
    assert mine.conflict(replace(mine, probes={"hello": [1.001, 0.0, 0.5]})) is None
    said = mine.conflict(replace(mine, probes={"hello": [0.0, 1.0, 0.5]}))
    assert said is not None
    assert said.startswith("the probe sentences are encoded otherwise: gtr, 3 dims, mean pooling")
    assert said.endswith("with a mean cosine of 0.200 over 1 probe sentence")


def test_stretches_of_one_document_share_its_name_and_number():
    documents = make_documents([3, 4, 5, 6], ids=["a", "b", "a", "c"])
    assert documents.numbers().tolist() == [0, 1, 0, 2]
    names = documents.names()
    assert names[0] == names[2]
    assert len(set(names)) == 3


def test_equal_ids_of_different_sources_are_different_documents():
    documents = replace(make_documents([3, 4], ids=["a", "a"]), source=["wiki", "news"])
    assert documents.numbers().tolist() == [0, 1]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cde")), min_size=1, max_size=12))
def test_numbers_are_equal_exactly_where_source_and_id_are(keys):
    documents = replace(make_documents([1] * len(keys), ids=[i for _, i in keys]), source=[s for s, _ in keys])
    numbers = documents.numbers()
    assert [[keys[i] == keys[j] for j in range(len(keys))] for i in range(len(keys))] == (
        numbers[:, None] == numbers
    ).tolist()
    assert sorted(set(numbers.tolist())) == list(range(len(set(keys))))
