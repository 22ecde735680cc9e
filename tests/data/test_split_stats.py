"""Who may see what: parts of whole documents, statistics of the training part, repeats and leaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lvm_lab.config.data import FOLDS, DataSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.repeated import repeated_rows
from lvm_lab.data.sketch import row_digests
from lvm_lab.data.source import Opened
from lvm_lab.data.split import PARTS, part_of, position
from lvm_lab.data.stats import training_stats
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError

KEYS = [f"wiki\x1f{i}" for i in range(20_000)]
LENGTHS = [9] * 60


def cut(store: Store, cache: Path, val: Store | None = None, ood: Store | None = None, **changes) -> Parts:
    every_position = changes.pop("every_position", False)
    opened = Opened(store, {"store": store.content}, val, ood)
    return cut_parts(opened, DataSettings(**changes), cache, every_position=every_position)


def test_a_key_has_one_place_on_every_machine():
    assert position("wiki\x1f1") == pytest.approx(0.594317203, abs=1e-9)
    assert all(0 <= position(key) < 1 for key in KEYS[:1000])


def test_shares_are_near_70_15_15():
    shares = {part: count / len(KEYS) for part, count in Counter(map(part_of, KEYS)).items()}
    assert shares == pytest.approx({"train": 0.70, "val": 0.15, "test": 0.15}, abs=0.012)


def test_every_fold_tests_its_own_documents_and_all_of_them_once():
    places = [[part_of(key, fold) for fold in range(FOLDS)] for key in KEYS[:4000]]
    assert all(row.count("test") == row.count("val") == 1 and row.count("train") == 3 for row in places)
    for fold in range(FOLDS):
        shares = Counter(row[fold] for row in places)
        assert shares["test"] / 4000 == pytest.approx(0.2, abs=0.03)
        assert set(shares) == set(PARTS)


def test_adding_documents_moves_none(make_store, cache):
    few, many = (make_store(LENGTHS[:n], ids=[f"d{i}" for i in range(n)][::order]) for n, order in ((50, 1), (60, -1)))

    def placed(store: Store) -> dict[str, str]:
        cuts, names = cut(store, cache), store.documents.names()
        numbers = store.documents.numbers().tolist()
        named = dict(zip(numbers, names, strict=True))
        return {named[n]: part for part in PARTS for n in getattr(cuts, part).document_W.tolist()}

    before, after = placed(few), placed(many)
    assert len(before) == 50
    assert before.items() <= after.items()
    assert set(before.values()) == set(PARTS)


def test_parts_are_whole_documents_and_share_none(make_store, cache):
    """Stretches of one document are one document."""
    store = make_store([9] * 90, ids=[f"d{i % 30}" for i in range(90)])
    parts = cut(store, cache)
    documents = [set(getattr(parts, part).document_W.tolist()) for part in PARTS]
    assert sum(map(len, documents)) == len(set().union(*documents)) == 30
    assert parts.documents == 30
    assert sum(len(getattr(parts, part)) for part in PARTS) == 90 * 4


def test_a_fold_is_cut_by_the_same_hash(make_store, cache):
    store = make_store(LENGTHS)
    tested = [set(cut(store, cache, fold=fold).test.document_W.tolist()) for fold in range(FOLDS)]
    assert sorted(n for fold in tested for n in fold) == list(range(60))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("mean", [0.0, 60.0])
def test_statistics_are_numpys_mean_and_std_of_the_given_stretches(make_store, cache, dtype, mean):
    vectors = (np.random.default_rng(0).standard_normal((12_000, 5)) * [0.5, 1, 2, 3, 4] + mean).astype(dtype)
    store = make_store([9_500, 1_000, 1_500], vectors_ND=vectors)
    stats = training_stats(store, np.array([0, 2]), cache)
    seen = np.concatenate([vectors[:9_500], vectors[10_500:]]).astype(np.float64)
    assert stats.mean_D.dtype == stats.std_D.dtype == torch.float32
    assert stats.mean_D.numpy() == pytest.approx(seen.mean(0), abs=1e-5)
    assert stats.std_D.numpy() == pytest.approx(seen.std(0), rel=1e-5)


def test_a_huge_common_mean_costs_no_digits(make_store, cache):
    vectors = (1e4 + np.random.default_rng(0).standard_normal((500, 3)) * 0.1).astype(np.float32)
    stats = training_stats(make_store([500], vectors_ND=vectors), np.array([0]), cache)
    assert stats.std_D.numpy() == pytest.approx(vectors.astype(np.float64).std(0), rel=1e-5)


def test_a_dimension_that_never_moves_divides_by_no_zero(make_store, cache):
    vectors = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)
    vectors[:, 1] = 7
    stats = training_stats(make_store([400], vectors_ND=vectors), np.array([0]), cache)
    assert stats.std_D[1] == pytest.approx(1e-3, rel=0.1)
    assert stats.standardise(torch.from_numpy(vectors))[:, 1].tolist() == [0.0] * 400


def test_statistics_are_read_again_from_the_cache(make_store, cache):
    store = make_store([30, 30])
    first = training_stats(store, np.array([0]), cache)
    (file,) = cache.iterdir()
    blank = replace(store, vectors_ND=np.ones_like(store.vectors_ND))
    again = training_stats(blank, np.array([0]), cache)
    assert torch.equal(again.mean_D, first.mean_D)
    assert torch.equal(again.std_D, first.std_D)
    # Another split and other content are other statistics.
    training_stats(store, np.array([0, 1]), cache)
    training_stats(make_store([30, 30], seed=1), np.array([0]), cache)
    assert len(list(cache.iterdir())) == 3
    assert file in cache.iterdir()


def test_stretches_in_another_order_are_the_same_split(make_store, cache):
    store = make_store([30, 20])
    for stretches in ([0, 1], [1, 0]):
        training_stats(store, np.array(stretches), cache)
    assert len(list(cache.iterdir())) == 1


def test_equal_vectors_have_equal_digests_and_others_do_not():
    vectors = np.random.default_rng(0).standard_normal((20_000, 3)).astype(np.float32)
    vectors[19_999] = vectors[3]
    digests = row_digests(vectors)
    assert digests[19_999] == digests[3]
    assert len(np.unique(digests)) == 19_999


def repeating(make_store, **more) -> Store:
    """Rows 0 to 3 and 8 to 10 are d0, the rest d1. Row 1 stands again in d1; rows 0 and 2 only within d0."""
    vectors = np.random.default_rng(0).standard_normal((11, 4)).astype(np.float32)
    vectors[7] = vectors[1]
    vectors[9] = vectors[2]
    vectors[0] = vectors[3]
    return make_store([4, 4, 3], ids=["d0", "d1", "d0"], vectors_ND=vectors, **more)


def test_repeats_between_documents_are_found_by_vector(make_store):
    assert np.flatnonzero(repeated_rows(repeating(make_store))).tolist() == [1, 7]


def test_a_text_repeats_as_well_as_a_vector_does(make_store):
    texts = [f"text {i}" for i in range(11)]
    texts[5] = "  TEXT\u00a03\n"  # row 3's in d0 and d1, but for case and spaces
    texts[10] = texts[1]  # both in d0
    assert np.flatnonzero(repeated_rows(repeating(make_store, texts=texts))).tolist() == [1, 3, 5, 7]


def test_empty_texts_are_no_equal_texts(make_store):
    """A chunk without a text falls back to its vector, and two such chunks are not the same chunk."""
    texts = ["" for _ in range(11)]
    assert np.flatnonzero(repeated_rows(repeating(make_store, texts=texts))).tolist() == [1, 7]


def test_repeated_chunks_are_no_targets_unless_asked(make_store, cache):
    stores = []
    for seed in range(3):
        vectors = np.random.default_rng(seed).standard_normal((540, 4)).astype(np.float32)
        vectors[7::9] = vectors[7]
        stores.append(make_store(LENGTHS, vectors_ND=vectors))
    store, val, ood = stores
    for skip in (True, False):
        parts = cut(store, cache, skip_repeated=skip, val=val, ood=ood)
        for part in (*PARTS, "ood"):
            assert (getattr(parts, part).target_row_W % 9 == 7).any() != skip, part
    excluded_N = cut(store, cache).train.excluded_N
    assert excluded_N is not None
    assert np.flatnonzero(excluded_N).tolist() == list(range(7, 540, 9))


def test_supervising_all_positions_changes_training_windows_alone(make_store, cache):
    vectors = np.random.default_rng(0).standard_normal((540, 4)).astype(np.float32)
    vectors[3::9] = vectors[3]
    store = make_store(LENGTHS, vectors_ND=vectors)
    last, every = cut(store, cache), cut(store, cache, every_position=True)
    assert set(last.train.target_row_W % 9) == {5, 6, 7, 8}
    assert set(every.train.target_row_W % 9) == {8}
    assert every.val.target_row_W.tolist() == last.val.target_row_W.tolist()


def test_own_validation_and_ood_stores_stand_as_a_whole(make_store, cache):
    store, val, ood = make_store(LENGTHS), make_store([9, 12], seed=1), make_store([20], seed=2)
    parts = cut(store, cache, val, ood)
    assert (len(parts.val), len(parts.ood)) == (4 + 7, 15)
    assert set(parts.val.document_W.tolist()) == {0, 1}
    # What the hash would have kept for validation trains.
    alone = cut(store, cache)
    assert len(parts.train) == len(alone.train) + len(alone.val)
    assert parts.test.target_row_W.tolist() == alone.test.target_row_W.tolist()


def test_statistics_are_the_training_parts(make_store, cache):
    store = make_store(LENGTHS)
    parts = cut(store, cache)
    inside = np.concatenate([np.arange(s, s + 9) for s in np.unique(parts.train.start_W)])
    assert parts.stats.mean_D.numpy() == pytest.approx(store.vectors_ND[inside].mean(0), abs=1e-5)


@pytest.mark.parametrize("name", ["val", "ood"])
def test_stores_of_another_encoder_are_refused(make_store, cache, name):
    store = make_store(LENGTHS)
    with pytest.raises(UserError, match=rf"data.{name}_path does not come .*dim 8 against 6.*; encode both"):
        cut(store, cache, **{name: make_store([9], dim=6)})
    other = make_store([9], contract=EncoderContract(encoder="other"))
    with pytest.raises(UserError, match=rf"data.{name}_path does not come .*encoder random against other"):
        cut(store, cache, **{name: other})


def test_constant_vectors_are_called_so(make_store, cache):
    store = make_store(LENGTHS, vectors_ND=np.ones((sum(LENGTHS), 4), np.float32))
    with pytest.raises(UserError, match=r"stand in several documents .*check that the vectors are not all alike"):
        cut(store, cache)
    with pytest.raises(UserError, match="all vectors of the training part are equal; encode"):
        training_stats(store, np.arange(len(LENGTHS)), cache)


def test_an_empty_part_says_what_to_do(make_store, cache):
    with pytest.raises(UserError, match=r"its longest .* has 5 chunks and .*context_length=5 needs 6.*longer"):
        cut(make_store([5] * 60), cache)
    in_train = next(f"d{i}" for i in range(99) if part_of(f"test\x1fd{i}") == "train")
    with pytest.raises(UserError, match=r"the val part has no window: 1 documents give it 0.*set data.val_path"):
        cut(make_store([30], ids=[in_train]), cache)
    store = make_store(LENGTHS)
    for name in ("val", "ood"):
        with pytest.raises(UserError, match=rf"data.{name}_path has no window: .*bring longer"):
            cut(store, cache, **{name: make_store([5], seed=3)})


def test_an_empty_test_part_is_no_hindrance(make_store, cache):
    in_train = next(f"d{i}" for i in range(99) if part_of(f"test\x1fd{i}") == "train")
    in_val = next(f"d{i}" for i in range(99) if part_of(f"test\x1fd{i}") == "val")
    parts = cut(make_store([9, 9], ids=[in_train, in_val]), cache)
    assert [len(parts.train), len(parts.val), len(parts.test)] == [4, 4, 0]
    assert parts.ood is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"context_length": 0}, "data.context_length=0 is no context"),
        ({"max_per_doc": 0}, "data.max_per_doc=0 leaves nothing"),
        ({"fold": 5}, "data.fold=5 does not exist; choose 0 to 4"),
        ({"fold": -1}, "data.fold=-1 does not exist"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        DataSettings(**changes)
