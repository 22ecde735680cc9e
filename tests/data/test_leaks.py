"""Who was trained on is not judged: the same chunks in another precision, under other ids, with and without texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lvm_lab.config.data import DataSettings
from lvm_lab.data import sketch as codes
from lvm_lab.data.joined import join_stores
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.repeated import repeated_rows
from lvm_lab.data.seen import rows_of, trained_on
from lvm_lab.data.source import Opened
from lvm_lab.data.split import part_of
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.judge.following import later_windows

LENGTHS = [12] * 60
DIM = 32
TEXT, ROW, CODES = 4746113944221925175, 5149200979559279256, [[32, 86, 174, 98], [184, 28, 140, 205], [31, 146, 62, 86]]


def cut(store: Store, cache: Path, val: Store | None = None, ood: Store | None = None, **changes) -> Parts:
    content = {"store": store.content} | ({"val": val.content} if val else {}) | ({"ood": ood.content} if ood else {})
    return cut_parts(Opened(store, content, val, ood), DataSettings(**changes), cache, every_position=False)


def noisy(vectors_ND: np.ndarray, size: float = 1e-4, seed: int = 9) -> np.ndarray:
    return (vectors_ND + size * np.random.default_rng(seed).standard_normal(vectors_ND.shape)).astype(np.float32)


def renamed(count: int) -> list[str]:
    return [f"other {i}" for i in range(count)]


@pytest.fixture
def store(make_store) -> Store:
    return make_store(LENGTHS, dim=DIM)


def text_of(rows: int) -> list[str]:
    return [f"Chunk number {i}." for i in range(rows)]


def test_the_same_chunks_with_noise_are_repeated(make_store, store):
    """float32 + 1e-4 beside the vectors themselves, under other ids."""
    copy = make_store(LENGTHS, vectors_ND=noisy(store.vectors_ND), ids=renamed(60))
    assert repeated_rows(join_stores([store, copy])).all()


def test_the_same_chunks_are_repeated_where_one_store_has_texts_and_one_has_none(make_store, store):
    copy = make_store(LENGTHS, vectors_ND=np.array(store.vectors_ND), ids=renamed(60), texts=text_of(720))
    assert repeated_rows(join_stores([store, copy])).all()


def test_the_same_texts_are_repeated_whatever_encoded_them(make_store):
    texts = text_of(720)
    stores = [make_store(LENGTHS, dim=DIM, seed=seed, ids=renamed(60), texts=texts) for seed in (0, 1)]
    assert repeated_rows(join_stores(stores)).all()


def test_chunks_of_one_document_are_not_repeated_in_it(make_store):
    vectors = np.random.default_rng(0).standard_normal((24, DIM)).astype(np.float32)
    vectors[1] = noisy(vectors[0])
    vectors[13] = noisy(vectors[12])
    store = make_store([12, 12], vectors_ND=vectors)
    assert not repeated_rows(store).any()


def test_neighbours_are_not_repeated(make_store):
    """cos .99: what follows from each other in a text is below .98, and a heading that counts may be there."""
    vectors = np.random.default_rng(0).standard_normal((720, DIM)).astype(np.float32)
    vectors[360:] = vectors[:360] + 0.142 * np.random.default_rng(1).standard_normal((360, DIM))
    store = make_store(LENGTHS, vectors_ND=vectors)
    assert not repeated_rows(store).any()


@pytest.mark.parametrize("noise", ["1e-4", "1e-3", "float16", "int8"])
def test_nearly_every_planted_near_duplicate_is_recalled(make_store, noise):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((6_000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    half = vectors[:3_000]
    step = np.abs(half).max(axis=1, keepdims=True) / 127
    vectors[3_000:] = {
        "1e-4": noisy(half),
        "1e-3": noisy(half, 1e-3),
        "float16": half.astype(np.float16).astype(np.float32),
        "int8": np.round(half / step) * step,
    }[noise]
    store = make_store([100] * 60, vectors_ND=vectors)
    assert repeated_rows(store).mean() >= 0.99


def test_the_mask_is_kept_by_content_and_by_texts(make_store, store, cache):
    expected = repeated_rows(store, cache)
    (file,) = cache.glob("repeated-*.npz")
    blank = replace(store, vectors_ND=np.ones_like(store.vectors_ND))
    assert repeated_rows(blank, cache).tolist() == expected.tolist()
    texts = ["alike"] * 720
    with_texts = make_store(LENGTHS, vectors_ND=np.array(store.vectors_ND), texts=texts)
    assert with_texts.content == store.content
    assert repeated_rows(with_texts, cache).all()
    assert {file} < set(cache.glob("repeated-*.npz"))


def test_where_nearly_all_is_repeated_the_sentence_says_so(make_store, store, cache):
    vectors = np.concatenate([noisy(store.vectors_ND), np.random.default_rng(4).standard_normal((12, DIM))])
    copy = make_store([*LENGTHS, 12], vectors_ND=vectors.astype(np.float32), ids=renamed(61))
    with pytest.raises(UserError, match=r"nearly all, 1440 of the 1452 chunks stand in several documents .*twice"):
        cut(join_stores([store, copy]), cache)


def test_digests_are_equal_in_every_process():
    """Python salts its own hash by process."""
    assert codes.text_digests(["A  Chunk\n", "", None]).tolist() == [codes.text_digests(["a chunk"])[0], 0, 0]
    assert codes.text_digests(["a chunk"]).tolist() == [TEXT]
    assert codes.row_digests(np.ones((1, 4), np.float32)).tolist() == [ROW]
    assert codes.sign_codes(np.eye(3, 16, dtype=np.float32))[:, :4].tolist() == CODES


@pytest.mark.parametrize("name", ["val", "ood"])
@pytest.mark.parametrize("share", ["all", "part"])
def test_a_store_of_its_own_that_is_the_training_data_is_refused(make_store, store, cache, name, share):
    rows = 720 if share == "all" else 240
    vectors = noisy(store.vectors_ND[:rows])
    copy = make_store([12] * (rows // 12), vectors_ND=vectors, ids=renamed(rows // 12))
    with pytest.raises(UserError, match=rf"windows of data.{name}_path .* hold chunks of the training part .*not held"):
        cut(store, cache, **{name: copy})


@pytest.mark.parametrize("name", ["val", "ood"])
def test_a_few_windows_that_were_trained_on_are_taken_out_and_told(make_store, store, cache, name):
    trained = next(i for i, key in enumerate(store.documents.names()) if part_of(key) == "train")
    vectors = np.random.default_rng(5).standard_normal((720, DIM)).astype(np.float32)
    vectors[5] = noisy(store.vectors_ND)[trained * 12 + 3]
    other = make_store(LENGTHS, vectors_ND=vectors, ids=renamed(60))
    alone = cut(other, cache)
    parts = cut(store, cache, **{name: other})
    # Row 5 is the target of one window and in the context of five.
    assert len(getattr(parts, name)) == 60 * 7 - 6
    assert [note.split(" of data")[0] for note in parts.notes] == ["6 of 420 windows"]
    assert alone.notes == ()
    # What is trained on does not hang on what it is judged on.
    untouched = cut(store, cache)
    kept = len(untouched.train) + (len(untouched.val) if name == "val" else 0)
    assert len(parts.train) == kept


@pytest.mark.parametrize("name", ["val", "ood"])
def test_no_reader_is_ranked_behind_a_chunk_that_was_trained_on(make_store, store, cache, name):
    trained = next(i for i, key in enumerate(store.documents.names()) if part_of(key) == "train")
    vectors = np.random.default_rng(5).standard_normal((720, DIM)).astype(np.float32)
    vectors[5] = noisy(store.vectors_ND)[trained * 12 + 3]
    other = make_store(LENGTHS, vectors_ND=vectors, ids=renamed(60))
    for length in (1, 5, 8):
        part = getattr(cut(store, cache, **{name: other}, context_length=length), name)
        later = later_windows(part, 4)
        # Of 12 chunks rows 4 to 6 have five behind them; row 5 and what comes after it is read or is the target.
        assert later.target_row_W[:4].tolist() == [4, 16, 17, 18]
        assert len(later) == 60 * 3 - 2


def test_what_the_store_holds_elsewhere_is_no_target_out_of_domain(make_store, store, cache):
    held_out = next(i for i, key in enumerate(store.documents.names()) if part_of(key) == "val")
    vectors = np.random.default_rng(5).standard_normal((720, DIM)).astype(np.float32)
    vectors[8] = noisy(store.vectors_ND)[held_out * 12 + 3]
    parts = cut(store, cache, ood=make_store(LENGTHS, vectors_ND=vectors, ids=renamed(60)))
    assert parts.notes == ()
    assert 8 not in parts.ood.target_row_W
    assert parts.ood.excluded_N[8]


def test_a_sketch_knows_its_rows_again_and_no_others(make_store, store, cache):
    parts = cut(store, cache)
    (sketch,) = parts.sketches()
    again = cut(make_store(LENGTHS, vectors_ND=noisy(store.vectors_ND), ids=renamed(60)), cache)
    seen_N = trained_on([sketch], again.val)
    rows = rows_of(again.val)
    assert seen_N[rows].tolist() == np.isin(rows, rows_of(parts.train)).tolist()
    assert not trained_on([sketch], cut(make_store(LENGTHS, dim=DIM, seed=3), cache).val).any()
    assert not trained_on([sketch], parts.val).any()
