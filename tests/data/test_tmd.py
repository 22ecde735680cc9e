"""TMD codes: their bits, their names, and that stores keep them through parts, joins, files and addresses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from helpers.documents import make_documents
from helpers.store_parts import CONTRACT, DIM, vectors
from lvm_lab.data import tmd
from lvm_lab.data.appending import add_part, set_codes
from lvm_lab.data.importers.npz import import_npz
from lvm_lab.data.joined import join_stores
from lvm_lab.data.part_files import PartWriter
from lvm_lab.data.remote import open_remote
from lvm_lab.data.store import Store, open_store, write_store
from lvm_lab.data.tmd import MISSING, Names
from lvm_lab.errors import UserError
from lvm_lab.jobs.export_data import export

NAMES = Names(("art", "law"), ("tell", "ask", "prove"), ("old", "new"), by="hand")
TURNED = Names(("law", "art"), ("prove", "tell", "ask"), ("new", "old"))


def codes(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes_N = tmd.pack(rng.integers(2, size=rows), rng.integers(3, size=rows), rng.integers(2, size=rows))
    codes_N[seed % rows] = MISSING
    return codes_N


def coded_store(path: Path, rows: int = 12, seed: int = 0, table: Names | None = NAMES, **options: Any) -> Store:
    documents = make_documents([rows], [f"d{seed}"])
    made: dict[str, Any] = {"codes_N": codes(rows, seed), "table": table} | options
    return write_store(path, vectors(rows, seed), documents, CONTRACT, **made)


def append_coded(path: Path, folder: Path, seed: int, table: Names | None, coded: bool = True) -> Store:
    with PartWriter(folder, DIM, np.float16) as writer:
        own = codes(9, seed) if coded else None
        writer.append(vectors(9, seed), make_documents([9], [f"d{seed}"]), codes_N=own)
        part = writer.close()
    return add_part(path, folder, part, CONTRACT, table=table)


def meanings(store: Store) -> list[tuple[str, ...] | None]:
    """The names of every chunk's code."""
    assert store.codes_N is not None
    assert store.tmd is not None
    numbers = tmd.unpack(store.codes_N)
    rows = zip(*(numbers[key].tolist() for key in tmd.FIELDS), strict=True)
    tables = [getattr(store.tmd, key) for key in tmd.FIELDS]
    return [None if row[0] < 0 else tuple(t[k] for t, k in zip(tables, row, strict=True)) for row in rows]


def test_bits_lie_where_the_field_has_them() -> None:
    every = np.arange(0, 1 << 16, 2)
    fields = tmd.unpack(every[every != MISSING])
    np.testing.assert_array_equal(tmd.pack(*fields.values()), every)
    assert tmd.pack(np.array([15]), np.array([0]), np.array([0]))[0] == 0b1111_00000_000000_0
    assert tmd.pack(np.array([0]), np.array([31]), np.array([0]))[0] == 0b0000_11111_000000_0
    assert tmd.pack(np.array([0]), np.array([0]), np.array([63]))[0] == 0b0000_00000_111111_0
    np.testing.assert_array_equal(tmd.pack(np.array([3, -1]), np.array([2, 2]), np.array([1, 1])), [0x3102, MISSING])


def test_columns_are_the_bits_with_the_most_significant_first() -> None:
    bits = tmd.columns(np.array([[0x3102, MISSING]], dtype=np.uint16))
    assert bits.shape == (1, 2, 15)
    np.testing.assert_array_equal(bits[0, 0] > 0, [c == "1" for c in f"{0x3102:016b}"[:15]])
    assert set(np.abs(bits[0, 0])) == {1.0}
    assert not bits[0, 1].any()


def test_a_table_of_names_that_the_bits_have_no_room_for_is_refused() -> None:
    with pytest.raises(UserError, match="room for 16 domains and 17"):
        Names(tuple(map(str, range(17))), ("a",), ("b",))
    with pytest.raises(UserError, match="all different"):
        Names(("a", "a"), ("a",), ("b",))
    with pytest.raises(UserError, match="all three, or none"):
        Names(("a",))


def test_a_store_keeps_codes_names_and_chunk_ids(tmp_path: Path) -> None:
    ids = [f"chunk-{k}" for k in range(12)]
    store = coded_store(tmp_path / "store", ids=ids, texts=["text"] * 12)
    np.testing.assert_array_equal(store.codes_N, codes(12))
    assert store.tmd == NAMES
    assert store.tmd.by == "hand"
    assert store.chunk_ids() == ids
    assert store.texts() == ["text"] * 12
    assert open_store(store.path, verify=True).codes_N is not None


def test_codes_are_no_part_of_a_stores_content(tmp_path: Path) -> None:
    bare = coded_store(tmp_path / "bare", codes_N=None)
    assert bare.codes_N is None
    assert bare.tmd is None
    assert "tmd" not in json.loads((tmp_path / "bare/manifest.json").read_text())
    assert coded_store(tmp_path / "coded").content == bare.content


def test_damaged_codes_are_noticed(tmp_path: Path) -> None:
    store = coded_store(tmp_path / "store")
    (file,) = store.parts[0].glob("tmd-*.npy")
    np.save(file, np.zeros(12, dtype=np.uint16))
    with pytest.raises(UserError, match="does not match the sha256"):
        open_store(store.path, verify=True)
    np.save(file, np.zeros(11, dtype=np.uint16))
    with pytest.raises(UserError, match="no TMD code for each of 12 vectors"):
        open_store(store.path)


def test_appended_parts_have_their_codes_mapped_and_those_without_have_none(tmp_path: Path) -> None:
    store = coded_store(tmp_path / "store")
    store = append_coded(store.path, tmp_path / "p1", 1, TURNED)
    alone = meanings(write_store(tmp_path / "alone", vectors(9, 1), make_documents([9], ["d1"]), CONTRACT,
                                 codes_N=codes(9, 1), table=TURNED))  # fmt: skip
    start = store.documents.start[store.documents.id.index("d1")]
    assert meanings(store)[start : start + 9] == alone
    store = append_coded(store.path, tmp_path / "p2", 2, None, coded=False)
    start = store.documents.start[store.documents.id.index("d2")]
    assert store.codes_N is not None
    assert (store.codes_N[start : start + 9] == MISSING).all()
    assert open_store(store.path, verify=True).tmd == NAMES
    with pytest.raises(UserError, match="TMD codes of another table of names"):
        append_coded(store.path, tmp_path / "p3", 3, Names(("sea", "sky"), ("a", "b", "c"), ("d", "e")))


def test_joined_stores_have_one_table(tmp_path: Path) -> None:
    stores = [coded_store(tmp_path / "a"), coded_store(tmp_path / "b", 8, 3, TURNED)]
    stores.append(coded_store(tmp_path / "c", 5, 4, codes_N=None))
    by_id = {store.documents.id[0]: meanings(store) for store in stores[:2]} | {"d4": [None] * 5}
    joined = join_stores(stores)
    start = dict(zip(joined.documents.id, joined.documents.start.tolist(), strict=True))
    for ident, wanted in by_id.items():
        assert meanings(joined)[start[ident] : start[ident] + len(wanted)] == wanted
    with pytest.raises(UserError, match="another table of names"):
        join_stores([*stores, coded_store(tmp_path / "d", 6, 5, Names())])


def test_a_store_behind_an_address_brings_its_codes(tmp_path: Path) -> None:
    store = coded_store(tmp_path / "store")
    files = fsspec.filesystem("memory")
    files.put(str(store.path), "/coded-store", recursive=True)
    there = open_remote("memory://coded-store", tmp_path / "cache")
    np.testing.assert_array_equal(there.codes_N, store.codes_N)
    assert there.tmd == NAMES


def test_codes_are_given_to_a_store_that_is_there_while_others_read_it(tmp_path: Path) -> None:
    store = coded_store(tmp_path / "store", codes_N=None)
    store = append_coded(store.path, tmp_path / "p1", 1, None, coded=False)
    first = set_codes(store.path, codes(21, 5), NAMES)
    second = set_codes(store.path, codes(21, 6), TURNED)
    np.testing.assert_array_equal(first.codes_N, codes(21, 5))
    np.testing.assert_array_equal(second.codes_N, codes(21, 6))
    assert first.content == second.content == store.content
    set_codes(store.path, codes(21, 7), TURNED)
    kept = [file for part in second.parts for file in part.glob("tmd-*.npy")]
    assert len(kept) == 4, "those of the last manifest and of this one"
    assert open_store(store.path, verify=True).tmd == TURNED


@pytest.mark.parametrize("layout", ["article_bank", "ordered_bank"])
def test_banks_go_round_with_codes_and_ids(layout: str, tmp_path: Path) -> None:
    ids = [f"chunk-{k}" for k in range(12)]
    store = coded_store(tmp_path / "store", ids=ids)
    export(store.path, tmp_path / "bank.npz", layout)
    back = import_npz(tmp_path / "bank.npz", tmp_path / "cache", context_length=3)
    np.testing.assert_array_equal(back.codes_N, store.codes_N)
    assert back.tmd == NAMES
    assert back.chunk_ids() == ids


@pytest.mark.parametrize("layout", ["sequences", "doc_ids", "split", "long_context"])
def test_windows_go_round_with_the_codes_of_their_targets(layout: str, tmp_path: Path) -> None:
    lengths = [12] * 12
    codes_N = codes(144)
    store = write_store(
        tmp_path / "store", vectors(144, 0), make_documents(lengths), CONTRACT, codes_N=codes_N, table=NAMES
    )
    export(store.path, tmp_path / "windows.npz", layout, context_length=3)
    back = import_npz(tmp_path / "windows.npz", tmp_path / "cache", context_length=3)
    code_of = {row.tobytes(): code for row, code in zip(np.asarray(store.vectors_ND), codes_N, strict=True)}
    assert back.codes_N is not None
    first = back.documents.start[:, None] + np.arange(3)
    assert (back.codes_N[first] == MISSING).all()
    targets = np.setdiff1d(np.arange(len(back.vectors_ND)), first)
    assert len(targets) == 12 * 9
    for row in targets.tolist():
        assert back.codes_N[row] == code_of[np.asarray(back.vectors_ND[row]).tobytes()]
    assert back.tmd == NAMES


def bank(path: Path, **arrays: Any) -> Path:
    rows = vectors(10, 0).astype(np.float32)
    np.savez(path, vectors=rows, article_indices=np.zeros(10, int), chunk_indices=np.arange(10), **arrays)
    return path


def test_codes_of_another_layout_of_bits_are_made_anew_of_their_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    domain, task, modifier = (rng.integers(most, size=10) for most in (16, 32, 64))
    other = (domain << 11) | (task << 6) | modifier
    numbers = {"domain_codes": domain, "task_codes": task, "modifier_codes": modifier}
    file = bank(tmp_path / "bank.npz", tmd_codes=other.astype(np.int32), **numbers)
    with caplog.at_level("INFO"):
        store = import_npz(file, tmp_path / "cache", context_length=3)
    np.testing.assert_array_equal(store.codes_N, tmd.pack(domain, task, modifier))
    assert "another layout of bits" in caplog.text
    assert store.tmd == Names()


def test_codes_that_fit_nothing_are_left_out_with_a_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = bank(tmp_path / "bank.npz", tmd_codes=np.arange(10) * 7919)
    with caplog.at_level("INFO"):
        store = import_npz(file, tmp_path / "cache", context_length=3)
    assert store.codes_N is None
    assert "tmd_codes are left out" in caplog.text
    assert "lvm-lab tmd" in caplog.text
