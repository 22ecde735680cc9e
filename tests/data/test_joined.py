"""Several stores trained on together: rows counted through, documents apart, parts where they were alone."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import MODEL, call
from helpers.documents import make_documents
from lvm_lab.config.data import DataSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.joined import join_stores
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.repeated import repeated_rows
from lvm_lab.data.rows import JoinedRows
from lvm_lab.data.source import Opened
from lvm_lab.data.sources.npz import Npz
from lvm_lab.data.split import PARTS
from lvm_lab.data.store import Store, write_store
from lvm_lab.errors import UserError

LENGTHS = [12] * 40


def cut(store: Store, cache: Path, **changes: Any) -> Parts:
    opened = Opened(store, {"store": store.content})
    return cut_parts(opened, DataSettings(**changes), cache, every_position=False)


@pytest.fixture
def two(make_store) -> list[Store]:
    return [make_store(LENGTHS, seed=1), make_store([9] * 30, seed=2, dtype=np.float16)]


def targets(windows: Any) -> set[bytes]:
    """What is asked for, by content."""
    return {row.tobytes() for row in windows.vectors(windows.target_row_W)}


@pytest.mark.parametrize(
    "rows",
    [
        slice(None),
        slice(3, 9),
        slice(2, 4),
        slice(8, 3),
        slice(-4, None),
        slice(1, 12, 3),
        slice(None, None, -1),
        7,
        -1,
        np.array([[11, 0], [5, 4]]),
        np.array([-1, 3]),
        np.array([], dtype=np.int64),
        np.arange(12) % 3 == 0,
    ],
    ids=str,
)
def test_joined_rows_are_indexed_like_one_array(rows: Any) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 3)).astype(t) for n, t in ((4, "f4"), (3, "f2"), (5, "f4"))]
    whole = np.concatenate(parts)
    joined = JoinedRows(parts)
    assert (joined.shape, joined.dtype, len(joined)) == (whole.shape, whole.dtype, len(whole))
    np.testing.assert_array_equal(joined[rows], whole[rows])
    assert joined[rows].dtype == whole.dtype
    np.testing.assert_array_equal(np.asarray(joined), whole)


def test_read_backwards_nothing_is_copied() -> None:
    parts = [np.arange(6.0).reshape(3, 2), np.ones((2, 2))]
    backwards = JoinedRows(parts)[::-1]
    assert isinstance(backwards, JoinedRows)
    assert all(any(np.shares_memory(part, one) for one in parts) for part in backwards.parts)
    np.testing.assert_array_equal(backwards[1:4], np.concatenate(parts)[::-1][1:4])


@pytest.mark.parametrize("row", [12, -13, [0, 12]])
def test_rows_outside_are_no_rows(row: Any) -> None:
    with pytest.raises(IndexError):
        JoinedRows([np.zeros((12, 2))])[row]


def test_every_document_is_in_the_part_that_it_has_alone(two, cache):
    together = cut(join_stores(two), cache)
    apart = [cut(store, cache) for store in two]
    for part in PARTS:
        assert targets(getattr(together, part)) == set().union(*(targets(getattr(a, part)) for a in apart))
        assert len(getattr(together, part)) == sum(len(getattr(a, part)) for a in apart)
    assert together.documents == 70
    assert together.contract.dtype == "float32"


def test_equal_ids_of_two_stores_are_two_documents(two, cache):
    """Both name their documents d0, d1, ...: no window, no batch and no repeat may take them for one."""
    train = cut(join_stores(two), cache).train
    alone = [len(np.unique(cut(store, cache).train.document_W)) for store in two]
    assert len(np.unique(train.document_W)) == sum(alone)
    for document in np.unique(train.document_W):
        assert len(np.unique(train.start_W[train.document_W == document])) == 1
    shared = np.concatenate([two[0].vectors_ND[:1], np.eye(8, dtype=np.float32)])
    other = write_store(cache / "other", shared, make_documents([9]), EncoderContract(encoder="random"))
    repeated = repeated_rows(join_stores([two[0], other]))
    assert repeated.sum() == 2


def test_stretches_of_one_document_stay_one(make_store, two):
    gaps = make_store([6, 6, 6], ids=["d0", "d0", "d1"], seed=3)
    assert len(np.unique(join_stores([gaps, two[0]]).documents.numbers())) == 2 + 40


def test_the_order_counts_for_nothing(two, cache):
    stores = [join_stores(order) for order in itertools.permutations(two)]
    one, other = (cut(store, cache) for store in stores)
    assert stores[0].content == stores[1].content != two[0].content
    np.testing.assert_array_equal(one.train.target_row_W, other.train.target_row_W)
    np.testing.assert_array_equal(one.train.context(), other.train.context())
    assert one.content == other.content
    assert join_stores(two[:1]) is two[0]


def test_texts_are_joined_where_any_store_has_them(make_store):
    named = make_store([3], texts=["a", "b", "c"])
    plain = make_store([2], seed=1)
    joined = join_stores([named, plain])
    texts = joined.texts()
    assert texts is not None
    for text, row in zip("abc", named.vectors_ND, strict=True):
        np.testing.assert_array_equal(joined.vectors_ND[texts.index(text)], row)
    assert texts.count("") == 2
    assert join_stores([plain, make_store([2], seed=2)]).texts() is None


def test_what_one_contract_leaves_open_the_other_may_say(make_store):
    silent = make_store([6], contract=EncoderContract())
    spoken = make_store([6], seed=1, contract=EncoderContract(encoder="e", probes={"p": [1.0, 0.0]}))
    for order in itertools.permutations([silent, spoken]):
        contract = join_stores(order).contract
        assert (contract.encoder, contract.probes) == ("e", {"p": [1.0, 0.0]})


def test_stores_that_do_not_go_together_are_a_sentence(make_store, two):
    for other, sentence in (
        (make_store([6], dim=9), r"different encoders \(.*: dim [89] against [89]\); take those of one encoder\.$"),
        (make_store([6], contract=EncoderContract(encoder="other")), r"encoder (random|other) against"),
        (make_store([6], isolated=True), r"mixes isolated windows with whole documents .*; bring the documents"),
        (make_store(LENGTHS, seed=1), r"lists the same vectors twice .*; list them once\.$"),
    ):
        with pytest.raises(UserError, match=sentence):
            join_stores([two[0], other])


def test_a_bank_joins_one_file_alone(tmp_path):
    with pytest.raises(UserError, match=r"data\.bank_path joins one sequence file .*; give one data\.path with it\.$"):
        Npz(path=["a.npz", "b.npz"], bank_path="c.npz").open(tmp_path, DataSettings())
    with pytest.raises(UserError, match=r"add data\.path=FILE\.npz"):
        Npz(path=[]).open(tmp_path, DataSettings())


def test_a_batch_reads_its_rows_and_no_others(make_store, cache):
    """Memory stays with what is asked for: two stores of 16 MB, and batches of 256."""
    stores = [make_store([200] * 40, dim=512, seed=seed) for seed in (1, 2)]
    windows = cut(join_stores(stores), cache, skip_repeated=False).train
    rng = np.random.default_rng(0)
    tracemalloc.start()
    for _ in range(10):
        windows.context(rng.integers(len(windows), size=256))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 256 * 5 * 512 * 4


@pytest.mark.parametrize("several", [False, True])
def test_fewer_windows_are_a_part_of_more_and_move_no_document(make_store, two, cache, several):
    store = join_stores(two) if several else two[0]
    whole = cut(store, cache)
    sizes = [1, 30, 60, len(whole.train), 10**6]
    parts = [cut(store, cache, train_windows=size) for size in sizes]
    assert [len(part.train) for part in parts] == [min(size, len(whole.train)) for size in sizes]
    for few, many in itertools.pairwise(parts):
        assert targets(few.train) <= targets(many.train)
        assert targets(few.val) == targets(whole.val)
        assert targets(few.test) == targets(whole.test)
    some = parts[1].train
    per_document = np.unique(some.document_W, return_counts=True)[1]
    assert (per_document < 4).sum() <= 1  # 7 or 4 windows a whole document
    assert not np.array_equal(parts[0].stats.mean_D, whole.stats.mean_D)
    np.testing.assert_array_equal(parts[-1].stats.mean_D, whole.stats.mean_D)
    with pytest.raises(UserError, match=r"data\.train_windows=0 leaves nothing to train on; set 1 or more, or null\."):
        cut(store, cache, train_windows=0)


def test_the_command_trains_on_a_list(tmp_path):
    rng = np.random.default_rng(0)
    names = []
    for name, documents in (("one", 60), ("two", 40)):
        vectors = rng.standard_normal((documents * 12, 16)).astype(np.float32)
        articles, chunks = np.divmod(np.arange(documents * 12), 12)
        np.savez(tmp_path / f"{name}.npz", vectors=vectors, article_indices=articles, chunk_indices=chunks)
        names.append(f"{name}.npz")
    common = (
        *MODEL,
        "data=npz",
        "trainer.max_epochs=1",
        "trainer.batch_size=32",
        "5cat=off",
        f"run.cache={tmp_path}/c",
    )
    done = call(tmp_path, *common, f"data.path=[{','.join(names)}]")
    assert done.code == 0, done.err
    # The other order is the same run, and it is finished.
    again = call(tmp_path, *common, f"data.path=[{','.join(names[::-1])}]")
    assert (again.code, len(list((tmp_path / "outputs").iterdir()))) == (0, 1)
    twice = call(tmp_path, *common, "data.path=[one.npz,one.npz]")
    assert twice.code == 2
    assert "lists the same vectors twice" in twice.sentence
