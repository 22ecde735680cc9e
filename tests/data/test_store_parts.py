"""A store grows by parts: nothing moves, nothing is lost, nothing is there twice, and no half store is ever seen."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import make_documents
from helpers.schema_1 import write_schema_1
from helpers.store_parts import CONTRACT, DIM, L, append, vectors, write_part
from lvm_lab.data import appending, part_files
from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.joined import join_stores
from lvm_lab.data.manifest import read_manifest
from lvm_lab.data.part_files import PartWriter
from lvm_lab.data.rows import JoinedRows
from lvm_lab.data.split import part_of
from lvm_lab.data.store import Store, open_store, write_store
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError


@pytest.fixture
def two(tmp_path: Path) -> Store:
    """A store of two parts: a (4 rows), b (5) and c (6)."""
    append(tmp_path / "store", tmp_path / "one", [4, 5], ["a", "b"], 1)
    return append(tmp_path / "store", tmp_path / "two", [6], ["c"], 2)


def documents_of(store: Store) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Each document's vectors and texts, by its id."""
    texts, there = store.texts(), {}
    assert texts is not None
    for ident, start, length in zip(store.documents.id, store.documents.start, store.documents.length, strict=True):
        assert ident not in there
        there[ident] = (np.array(store.vectors_ND[start : start + length]), texts[start : start + length])
    return there


def test_parts_are_read_as_one_store(two: Store) -> None:
    assert isinstance(two.vectors_ND, JoinedRows)
    there = documents_of(two)
    assert sorted(there) == ["a", "b", "c"]
    assert np.array_equal(np.concatenate([there["a"][0], there["b"][0]]), vectors(9, 1))
    assert np.array_equal(there["c"][0], vectors(6, 2))
    assert there["b"][1] == [f"1: {i}" for i in range(4, 9)]
    assert len({one.content for one in (two, *(open_store_of(part, two) for part in two.parts))}) == 3


def open_store_of(part: Path, store: Store) -> Store:
    """One of a store's parts as a store of its own."""
    documents = part_files.Documents.of(pq.read_table(part / "documents.parquet"))
    rows_ND = np.load(part / "vectors.npy")
    return write_store(store.path.parent / f"alone-{part.name}", rows_ND, documents, store.contract)


def test_a_store_of_parts_is_the_store_whoever_came_first(tmp_path: Path) -> None:
    stores = []
    for order in ((0, 1, 2), (2, 0, 1)):
        path = tmp_path / f"store{order[0]}"
        for k in order:
            origins = [{"source": f"s{k}", "licence": None, "origin": "here"}]
            folder = tmp_path / f"p{k}-{order[0]}"
            stores.append(add_part(path, folder, write_part(folder, [4 + k], [f"d{k}"], k), CONTRACT, origins=origins))
    one, other = stores[2], stores[5]
    assert one.content == other.content
    files = [{str(f.relative_to(s.path)): f.read_bytes() for f in s.path.rglob("*.*")} for s in (one, other)]
    assert files[0] == files[1]
    assert len(files[0]) == 11
    assert [origin["source"] for origin in read_manifest(one.path).origins] == ["s0", "s1", "s2"]
    assert np.array_equal(one.vectors_ND[:], other.vectors_ND[:])


@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5), blocks=st.lists(st.integers(1, 4), min_size=1))
@settings(max_examples=25)
def test_bytes_hang_on_the_rows_and_not_on_the_blocks(tmp_path_factory, cuts, blocks) -> None:
    """What was written in one block and in many is one part."""
    home = tmp_path_factory.mktemp("parts")
    lengths = cuts * 3
    rows_ND, documents = vectors(sum(lengths), 0), make_documents(lengths)
    texts, coherence = [f"chunk {i}" * (i % 7) for i in range(sum(lengths))], [i / 10 for i in range(len(lengths))]
    with PartWriter(home / "whole", DIM, np.float16) as writer:
        writer.append(rows_ND, documents, texts, coherence)
        whole = writer.close()
    with PartWriter(home / "blocks", DIM, np.float16) as writer:
        first = 0
        while first < len(lengths):
            last = min(first + blocks[first % len(blocks)], len(lengths))
            low, high = int(documents.start[first]), int(documents.start[last - 1] + lengths[last - 1])
            some = make_documents(lengths[first:last], documents.id[first:last])
            writer.append(rows_ND[low:high], some, texts[low:high], coherence[first:last])
            first = last
        assert writer.close() == whole
    for name in ("vectors.npy", "documents.parquet", "chunks.parquet"):
        assert (home / "whole" / name).read_bytes() == (home / "blocks" / name).read_bytes(), name
    np.save(home / "own.npy", rows_ND)
    assert (home / "own.npy").read_bytes() == (home / "whole" / "vectors.npy").read_bytes()


def test_row_groups_are_small_and_of_one_length(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(part_files, "ROW_GROUP", 8)
    with PartWriter(tmp_path / "part", DIM, np.float16) as writer:
        for k in range(5):
            rows_ND = vectors(5, k)
            writer.append(rows_ND, make_documents([5], [f"d{k}"]), [f"{k} {i}" for i in range(5)], [k / 10])
        writer.close()
    chunks = pq.ParquetFile(tmp_path / "part" / "chunks.parquet")
    assert [chunks.metadata.row_group(i).num_rows for i in range(chunks.num_row_groups)] == [8, 8, 8, 1]
    table = chunks.read()
    assert table["text"].to_pylist() == [f"{k} {i}" for k in range(5) for i in range(5)]
    assert np.allclose(table["coherence"].to_numpy(), np.repeat(np.arange(5) / 10, 5))


LENGTHS = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@given(parts=st.lists(LENGTHS, min_size=2, max_size=3), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_appending_moves_no_document_and_no_window_crosses_one(tmp_path_factory, parts, seed) -> None:
    home = tmp_path_factory.mktemp("stores")
    before: dict[str, tuple[np.ndarray, list[str]]] = {}
    cut: dict[str, str] = {}
    for k, lengths in enumerate(parts):
        ids = [f"{seed}-{k}-{i}" for i in range(len(lengths))]
        opened = open_store(home / "store") if k else None
        store = append(home / "store", home / f"p{k}", lengths, ids, 100 * seed + k)
        there = documents_of(store)
        for ident, (rows_ND, texts) in before.items():
            assert np.array_equal(there[ident][0], rows_ND)
            assert there[ident][1] == texts
        own = dict(zip(store.documents.id, map(part_of, store.documents.names()), strict=True))
        assert own.items() >= cut.items()
        if opened is not None:
            # Who has the store open goes on reading what was there.
            again = documents_of(opened)
            assert again.keys() == before.keys()
            assert all(np.array_equal(again[ident][0], before[ident][0]) for ident in before)
        before, cut = there, own

        owner_N = np.full(len(store.vectors_ND), -1)
        for number, (start, length) in enumerate(zip(store.documents.start, store.documents.length, strict=True)):
            assert np.all(owner_N[start : start + length] == -1)
            owner_N[start : start + length] = number
        windows = index_windows(store, np.arange(len(store.documents)), L)
        assert len(windows) == sum(max(0, n - L) for some in parts[: k + 1] for n in some)
        rows_WL = windows.target_row_W[:, None] + np.arange(-L, 1)
        assert np.all(owner_N[rows_WL] == owner_N[rows_WL[:, :1]])
    parts_of = [set(pq.read_table(part / "documents.parquet")["id"].to_pylist()) for part in store.parts]
    assert sum(map(len, parts_of)) == len(set.union(*parts_of))


def test_a_part_that_is_there_is_refused(tmp_path: Path, two: Store) -> None:
    with pytest.raises(UserError, match="has these vectors already; append others"):
        append(two.path, tmp_path / "again", [6], ["c"], 2)
    assert (tmp_path / "again" / "vectors.npy").exists(), "what was refused stays its owner's"
    assert open_store(two.path).content == two.content


def test_a_document_that_is_there_is_refused(tmp_path: Path, two: Store) -> None:
    with pytest.raises(UserError, match=r"has 1 of these documents already .*'b' of the source 'test'.*; append"):
        append(two.path, tmp_path / "more", [6, 7], ["b", "x"], 3)
    assert documents_of(open_store(two.path)).keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(CONTRACT, encoder="else"), "of another encoder .encoder random against else"),
        (replace(CONTRACT, pooling="cls"), "of another encoder .pooling mean against cls"),
    ],
)
def test_another_encoder_is_refused(tmp_path: Path, two: Store, other: EncoderContract, words: str) -> None:
    with pytest.raises(UserError, match=words):
        append(two.path, tmp_path / "more", [6], ["x"], 3, contract=other)
    assert open_store(two.path).content == two.content


def test_probes_tell_encoders_apart_when_they_meet(tmp_path: Path) -> None:
    probes = [{"hello": [1.0] * DIM}, {"hello": [1.0] * (DIM - 1) + [-9.0]}]
    append(tmp_path / "store", tmp_path / "one", [4], ["a"], 1, contract=replace(CONTRACT, probes=probes[0]))
    with pytest.raises(UserError, match="the probe sentences are encoded otherwise"):
        append(tmp_path / "store", tmp_path / "two", [4], ["b"], 2, contract=replace(CONTRACT, probes=probes[1]))


def test_isolated_windows_do_not_go_with_documents(tmp_path: Path, two: Store) -> None:
    part = write_part(tmp_path / "more", [6], ["x"], 3)
    with pytest.raises(UserError, match="isolated windows and whole documents do not go together"):
        add_part(two.path, tmp_path / "more", part, CONTRACT, isolated=True)


def test_a_part_of_another_dtype_is_refused(tmp_path: Path, two: Store) -> None:
    words = "has its vectors in float16 and these are in float32; append them with dtype=float16, or name another"
    with pytest.raises(UserError, match=words):
        append(two.path, tmp_path / "more", [6], ["x"], 3, dtype=np.float32)
    assert open_store(two.path, verify=True).content == two.content


def test_parts_of_two_dtypes_are_read_in_the_wider(two: Store) -> None:
    """As appending made them once."""
    part = two.parts[0]
    vectors_ND = np.load(part / "vectors.npy").astype(np.float32)
    np.save(part / "vectors.npy", vectors_ND)
    assert open_store(two.path).vectors_ND.dtype == np.float32


@pytest.mark.parametrize(("scale", "value"), [(1e5, "1e+05"), (1e-9, "1e-09")])
def test_what_float16_cannot_hold_is_told_as_such(tmp_path: Path, scale: float, value: str) -> None:
    vectors_ND = np.full((4, DIM), scale, np.float32)
    words = f"vector 0 does not fit into float16, which holds 6e-08 to 65504 (its largest value is {value}); set dtype="
    with (
        PartWriter(tmp_path / "part", DIM, np.float16) as writer,
        pytest.raises(UserError, match=re.escape(words)),
    ):
        writer.append(vectors_ND, make_documents([4]))
    with PartWriter(tmp_path / "wide", DIM, np.float32) as writer:
        writer.append(vectors_ND, make_documents([4]))
        writer.close()


def test_a_part_without_texts_has_empty_ones(tmp_path: Path, two: Store) -> None:
    there = documents_of(append(two.path, tmp_path / "more", [6], ["x"], 3, texts=False))
    assert there["x"][1] == [""] * 6
    assert there["c"][1] == [f"2: {i}" for i in range(6)]


@pytest.mark.parametrize("step", ["rename", "write_atomically"])
def test_a_crash_leaves_the_store_as_it_was(tmp_path: Path, two: Store, monkeypatch, step: str) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(appending.os if step == "rename" else appending, step, broken)
        with pytest.raises(KeyboardInterrupt):
            append(two.path, tmp_path / "more", [6], ["x"], 3)
    assert open_store(two.path, verify=True).content == two.content
    # What was being appended can be appended still.
    again = append(two.path, tmp_path / "again", [6], ["x"], 3)
    assert sorted(again.documents.id) == ["a", "b", "c", "x"]
    mine = two.path / "parts" / "notes"
    mine.mkdir()
    (mine / "thesis.txt").write_text("not ours")
    (two.path / "parts" / ("0" * 16)).mkdir()
    (two.path / "parts" / ("0" * 16) / "thesis.txt").write_text("not ours either")
    third = append(two.path, tmp_path / "other", [7], ["y"], 4)
    assert sorted(third.documents.id) == ["a", "b", "c", "x", "y"]
    listed = {part.name for part in third.parts}
    assert {folder.name for folder in (two.path / "parts").iterdir()} == {*listed, "notes", "0" * 16}


@pytest.mark.parametrize("first", [True, False], ids=["first part", "another part"])
@pytest.mark.parametrize("step", ["_remove_orphans", "rename", "to_disk", "write_atomically"])
def test_an_append_killed_at_any_step_can_be_given_again(tmp_path: Path, monkeypatch, step: str, first: bool) -> None:
    """Given again, it makes the files of an append that nobody killed."""

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for store in (whole, torn):
        if not first:
            append(store, tmp_path / f"{store.name}-one", [4, 5], ["a", "b"], 1)
    append(whole, tmp_path / "more", [6], ["x"], 3)
    with monkeypatch.context() as patched:
        patched.setattr(appending.os if step == "rename" else appending, step, broken)
        with pytest.raises(KeyboardInterrupt):
            append(torn, tmp_path / "killed", [6], ["x"], 3)
    append(torn, tmp_path / "again", [6], ["x"], 3)
    assert files_of(torn) == files_of(whole)


def files_of(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def test_what_was_not_closed_is_no_part(tmp_path: Path) -> None:
    bad_ND = np.pad(np.ones((3, DIM), np.float32), ((0, 1), (0, 0)))
    with PartWriter(tmp_path / "part", DIM) as writer:
        writer.append(vectors(6, 0), make_documents([6], ["a"]))
        with pytest.raises(UserError, match="vector 9 is all zeros"):
            writer.append(bad_ND, make_documents([4], ["b"]))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_place(tmp_path: Path) -> None:
    """A limit of the files' size ends a write as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with PartWriter(tmp_path / "part", DIM) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with pytest.raises(OSError, match=f"could not be written whole .*: '{tmp_path / 'part'}'"):
                writer.append(vectors(900, 0), make_documents([900]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_no_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no documents"), PartWriter(tmp_path / "part", DIM) as writer:
        writer.close()


APPENDER = """
import sys
from pathlib import Path
import numpy as np
from helpers.documents import make_documents
from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.part_files import PartWriter
home, mine = Path(sys.argv[1]), int(sys.argv[2])
for k in range(6):
    with PartWriter(home / f"p{mine}-{k}", 4) as writer:
        writer.append(np.random.default_rng([mine, k]).standard_normal((5, 4), dtype=np.float32),
            make_documents([5], [f"{mine}-{k}"]))
        part = writer.close()
    add_part(home / "store", writer.folder, part, EncoderContract())
"""


def test_two_who_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    arguments = [sys.executable, "-c", APPENDER, str(tmp_path)]
    both = [subprocess.Popen([*arguments, str(i)], env=os.environ | {"PYTHONPATH": path}) for i in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    store = open_store(tmp_path / "store", verify=True)
    assert sorted(store.documents.id) == [f"{i}-{k}" for i in range(2) for k in range(6)]


def damage(store: Store, kind: str) -> None:
    file = store.path / "manifest.json"
    manifest = json.loads(file.read_text())
    first = store.parts[0]
    if kind == "no parts":
        del manifest["parts"]
    elif kind == "empty parts":
        manifest["parts"] = []
    elif kind == "a list":
        manifest = [manifest]
    elif kind == "a part twice":
        manifest["parts"].append(manifest["parts"][0])
    elif kind == "a part elsewhere":
        manifest["parts"][0]["name"] = "../../home"
    elif kind == "hashes elsewhere":
        manifest["parts"][0]["sha256"]["../../secret"] = "0"
    elif kind == "no hash":
        del manifest["parts"][0]["sha256"]["vectors.npy"]
    elif kind == "no encoder":
        manifest["encoder"] = {"colour": "red"}
    elif kind == "other rows":
        manifest["parts"][0]["rows"] += 1
    elif kind == "a missing part":
        first.rename(store.path.parent / "gone")
    elif kind == "truncated vectors":
        data = (first / "vectors.npy").read_bytes()
        (first / "vectors.npy").write_bytes(data[:-7])
    elif kind == "longer documents":
        documents = make_documents([4, 500], ["a", "b"])
        pq.write_table(documents.table(), first / "documents.parquet")
    elif kind in ("a pipe for vectors", "a pipe for a manifest"):
        place = file if kind == "a pipe for a manifest" else first / "vectors.npy"
        place.unlink()
        os.mkfifo(place)
        if place == file:
            return
    elif kind == "other columns":
        pq.write_table(pq.read_table(first / "documents.parquet").drop_columns(["length"]), first / "documents.parquet")
    else:
        raise AssertionError(kind)
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no parts", "no 'parts'"),
        ("empty parts", "lists no part"),
        ("a list", "'list' object has no attribute"),
        ("a part twice", "or one twice"),
        ("a part elsewhere", "a part '../../home' that is not named by its content"),
        ("hashes elsewhere", "has hashes of"),
        ("no hash", "no 'vectors.npy'"),
        ("no encoder", "colour"),
        ("other rows", "rows are listed"),
        ("a missing part", "No such file"),
        ("truncated vectors", "mmap length"),
        ("longer documents", "points outside the"),
        ("other columns", "length"),
        ("a pipe for vectors", "no plain file"),
        ("a pipe for a manifest", "no plain file"),
    ],
)
def test_a_damaged_store_becomes_a_sentence(two: Store, cache: Path, kind: str, words: str) -> None:
    damage(two, kind)
    with pytest.raises(UserError, match=rf"is not a readable store \(.*{words}.*\); name a store's folder, or make"):
        open_source(two.path, cache, context_length=L)


@pytest.mark.parametrize("name", ["vectors.npy", "chunks.parquet"])
def test_a_part_of_another_sha256_becomes_a_sentence(two: Store, cache: Path, name: str) -> None:
    file = two.parts[1] / name
    data = bytearray(file.read_bytes())
    data[-9 if name == "vectors.npy" else 20] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=rf"does not match the sha256 in its manifest \({name}\); name a store's"):
        open_source(two.path, cache, context_length=L)


def test_a_table_of_other_documents_becomes_a_sentence(two: Store, cache: Path) -> None:
    part = next(part for part in two.parts if np.load(part / "vectors.npy").shape[0] == 9)
    pq.write_table(make_documents([5, 4], ["a", "b"]).table(), part / "documents.parquet")
    with pytest.raises(UserError, match=r"does not match the sha256 in its manifest \(documents.parquet\)"):
        open_source(two.path, cache, context_length=L)


def test_stores_of_the_first_version_are_read_and_grow(tmp_path: Path, cache: Path) -> None:
    old = tmp_path / "old"
    content = write_schema_1(old, vectors(9, 5), make_documents([4, 5]), CONTRACT, [f"old {i}" for i in range(9)])
    store = open_source(old, cache, context_length=L)
    assert store.content == content
    assert store.texts() == [f"old {i}" for i in range(9)]
    new = write_store(tmp_path / "new", vectors(9, 5), make_documents([4, 5]), CONTRACT)
    assert new.content == content, "a run of before and one of now are on one ground"

    grown = append(old, tmp_path / "more", [6], ["x"], 6)
    there = documents_of(grown)
    assert np.array_equal(np.concatenate([there["d0"][0], there["d1"][0]]), vectors(9, 5))
    assert there["d0"][1] == [f"old {i}" for i in range(4)]
    beside = append(new.path, tmp_path / "more2", [6], ["x"], 6)
    assert grown.content == beside.content
    assert np.array_equal(grown.vectors_ND[:], beside.vectors_ND[:])
    assert np.array_equal(store.vectors_ND[:], vectors(9, 5))
    assert open_store(old, verify=True).content == grown.content


def test_several_parts_join_with_other_stores(two: Store, make_store) -> None:
    other = make_store([7], dim=DIM, contract=CONTRACT)
    joined = join_stores([two, other])
    assert joined.vectors_ND.shape == (22, DIM)
    rows = [1, 20, 9, 3]
    expected = np.concatenate([np.array(s.vectors_ND[:]) for s in sorted([two, other], key=lambda s: s.content)])
    assert np.array_equal(joined.vectors_ND[rows], expected[rows])
    assert len(joined.texts() or []) == 22


def test_texts_that_no_manifest_lists_are_not_read(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", vectors(6, 0), make_documents([6]), CONTRACT)
    pq.write_table(pa.table({"text": ["one"] * 6}), store.parts[0] / "chunks.parquet")
    with pytest.raises(UserError, match="not listed in its manifest"):
        open_store(store.path)


def test_texts_that_are_not_one_a_vector_are_not_read(two: Store) -> None:
    pq.write_table(pa.table({"text": ["one"]}), two.parts[0] / "chunks.parquet")
    with pytest.raises(UserError, match="has 1 rows for"):
        open_store(two.path)


def test_names_with_control_characters_tell_no_documents_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="control characters"):
        write_store(tmp_path / "store", vectors(6, 0), make_documents([6], ["a\x1f0\x1f3"]), CONTRACT)
    assert list(tmp_path.iterdir()) == []


def test_a_contract_of_wrong_types_becomes_a_sentence(two: Store) -> None:
    file = two.path / "manifest.json"
    manifest = json.loads(file.read_text())
    for probes in (None, {"hello": None}, {"hello": ["a"]}):
        file.write_text(json.dumps(manifest | {"encoder": manifest["encoder"] | {"probes": probes}}))
        with pytest.raises(UserError, match="is not a readable store"):
            open_store(two.path)
