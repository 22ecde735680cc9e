"""A window is an index: it never leaves its stretch, gathers what slicing would, and is sampled evenly.

Shape suffixes: W windows, L context length, D vector dim, N rows of the store.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.data.seen import rows_of, take_out
from lvm_lab.data.windows import Windows, index_windows, of_one_length, sample_evenly
from lvm_lab.errors import UserError

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)
CONTEXT = st.integers(1, 6)


def by_hand(store, stretches, context_length, excluded=(), every_position=False) -> list[tuple[int, int, int, int]]:
    """(target row, document, start, end) of every window, in plain loops."""
    found = []
    for stretch in stretches:
        start, length = int(store.documents.start[stretch]), int(store.documents.length[stretch])
        for target in range(start, start + length):
            if target - context_length < start:
                continue
            supervised = range(target - context_length + 1, target + 1) if every_position else [target]
            if any(row in excluded for row in supervised):
                continue
            found.append((target, int(store.documents.numbers()[stretch]), start, start + length))
    return found


def listed(windows: Windows) -> list[tuple[int, int, int, int]]:
    columns = (windows.target_row_W, windows.document_W, windows.start_W, windows.end_W)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(lengths=LENGTHS, context_length=CONTEXT, data=st.data())
def test_windows_are_those_of_a_plain_loop(make_store, lengths, context_length, data):
    ids = data.draw(st.lists(st.sampled_from("abc"), min_size=len(lengths), max_size=len(lengths)))
    stretches = data.draw(st.lists(st.sampled_from(range(len(lengths))), unique=True))
    excluded = data.draw(st.sets(st.sampled_from(range(sum(lengths))), max_size=4))
    every_position = data.draw(st.booleans())
    store = make_store(lengths, ids=ids, dim=2)
    mask_N = np.isin(np.arange(sum(lengths)), list(excluded))
    windows = index_windows(
        store, np.array(stretches, dtype=np.int64), context_length, excluded_N=mask_N, every_position=every_position
    )
    assert listed(windows) == by_hand(store, stretches, context_length, excluded, every_position)


@given(lengths=LENGTHS, context_length=CONTEXT)
def test_no_window_crosses_a_stretch_and_none_is_missed(make_store, lengths, context_length):
    store = make_store(lengths, dim=2)
    windows = index_windows(store, np.arange(len(lengths)), context_length)
    assert len(windows) == sum(max(0, length - context_length) for length in lengths)
    assert (windows.rows(1 - context_length) >= windows.start_W).all()
    assert (windows.rows(1) < windows.end_W).all()
    assert windows.has(1 - context_length, 1).all()
    spans = [(s, s + n) for s, n in zip(store.documents.start, store.documents.length, strict=True)]
    assert set(zip(windows.start_W.tolist(), windows.end_W.tolist(), strict=True)) <= set(spans)


def test_rows_count_from_the_last_context_vector(make_store):
    windows = index_windows(make_store([9]), np.arange(1), 5)
    assert windows.rows(1).tolist() == windows.target_row_W.tolist() == [5, 6, 7, 8]
    assert windows.rows(0).tolist() == [4, 5, 6, 7]
    assert windows.rows(-4).tolist() == [0, 1, 2, 3]
    assert windows.rows(3).tolist() == [7, 8, 9, 10]


@given(lengths=LENGTHS, context_length=CONTEXT, first=st.integers(-8, 3), span=st.integers(0, 8))
def test_has_is_whether_every_row_lies_in_the_stretch(make_store, lengths, context_length, first, span):
    windows = index_windows(make_store(lengths, dim=2), np.arange(len(lengths)), context_length)
    expected = [
        all(start <= target - 1 + k < end for k in range(first, first + span + 1))
        for target, _, start, end in listed(windows)
    ]
    assert windows.has(first, first + span).tolist() == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_gathering_equals_slicing(make_store, dtype):
    store = make_store([7, 3, 9, 6], dtype=dtype)
    windows = index_windows(store, np.array([2, 0, 1, 3]), 4)
    everything = np.array(store.vectors_ND).astype(np.float32)
    context_BLD = windows.context()
    assert context_BLD.dtype == np.float32
    assert context_BLD.shape == (len(windows), 4, 8)
    for row, context_LD in zip(windows.target_row_W, context_BLD, strict=True):
        assert np.array_equal(context_LD, everything[row - 4 : row])
    chosen = np.array([5, 0, 5])
    assert np.array_equal(windows.context(chosen), context_BLD[chosen])
    assert np.array_equal(windows.context(slice(2, 4)), context_BLD[2:4])
    rows = windows.target_row_W[np.array([[0, 1, 2], [3, 2, 1]])]
    found = windows.vectors(rows)
    assert found.dtype == np.float32
    assert np.array_equal(found, everything[rows])
    # A gather must be a copy: the mmap is read-only, and torch shares what it is given.
    context_BLD[:] = 0
    assert np.array_equal(np.array(store.vectors_ND).astype(np.float32), everything)


def test_select_keeps_order_and_everything_else(make_store):
    windows = index_windows(make_store([9, 9], isolated=True), np.arange(2), 5)
    positions = np.array([6, 1, 3])
    assert listed(windows.select(positions)) == [listed(windows)[i] for i in positions]
    mask = np.arange(len(windows)) % 2 == 0
    assert listed(windows.select(mask)) == listed(windows)[::2]
    assert windows.select(mask).isolated
    assert windows.select(mask).context_length == 5


def test_no_stretch_gives_no_window(make_store):
    windows = index_windows(make_store([9]), np.array([], dtype=np.int64), 5)
    assert len(windows) == 0
    assert windows.context().shape == (0, 5, 8)
    assert len(sample_evenly(windows, 3, seed=0)) == 0


@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=8), at_most=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_sample_is_as_even_as_the_documents_allow(make_store, lengths, at_most, seed):
    windows = index_windows(make_store(lengths, dim=2), np.arange(len(lengths)), 3)
    sample = sample_evenly(windows, at_most, seed)
    assert len(sample) == min(at_most, len(windows))
    targets = sample.target_row_W
    assert (np.diff(targets) > 0).all()
    assert set(listed(sample)) <= set(listed(windows))
    available, taken = Counter(windows.document_W.tolist()), Counter(sample.document_W.tolist())
    most = max(taken.values(), default=0)
    for document, count in available.items():
        assert taken[document] >= min(most - 1, count)


def test_stretches_of_one_document_share_one_turn(make_store):
    windows = index_windows(make_store([20, 20, 20], ids=["a", "a", "b"]), np.arange(3), 3)
    assert Counter(sample_evenly(windows, 10, seed=0).document_W.tolist()) == {0: 5, 1: 5}


def test_a_sample_depends_on_its_seed_alone(make_store):
    windows = index_windows(make_store([30] * 5), np.arange(5), 5)
    first = listed(sample_evenly(windows, 40, seed=1))
    assert first == listed(sample_evenly(windows, 40, seed=1))
    assert first != listed(sample_evenly(windows, 40, seed=2))
    # Random places within a document, not its opening.
    assert max(target - start for target, _, start, _ in first) > 20


@given(lengths=LENGTHS, context_length=CONTEXT, data=st.data())
def test_short_contexts_are_grouped_padded_and_marked_by_what_they_hold(make_store, lengths, context_length, data):
    shortest, count = data.draw(st.integers(1, context_length)), data.draw(st.integers(1, 8))
    store = make_store(lengths, dim=2)
    windows = index_windows(store, np.arange(len(lengths)), context_length, min_context=shortest)
    everything = np.asarray(store.vectors_ND).astype(np.float32)
    held = [list(range(max(start, target - context_length), target)) for target, _, start, _ in listed(windows)]
    assert len(windows) == sum(max(0, length - shortest) for length in lengths)
    assert all(len(rows) >= shortest for rows in held)
    places = []
    for positions, some in windows.slices(3):
        assert 1 <= len(positions) <= 3
        for position, context_LD in zip(positions.tolist(), some.context(), strict=True):
            assert np.array_equal(context_LD, everything[held[position]])
        places.extend(positions.tolist())
    assert sorted(places) == list(range(len(windows)))
    for context_LD, rows in zip(windows.padded_context(count), held, strict=True):
        read = everything[rows[-count:]]
        assert np.array_equal(context_LD, np.concatenate([np.zeros((count - len(read), 2)), read]))
    target_rows = windows.target_row_W.tolist()
    assert rows_of(windows).tolist() == sorted({*target_rows, *(row for rows in held for row in rows)})
    seen = data.draw(st.sets(st.sampled_from(range(sum(lengths))), max_size=2))
    clean = [not seen & {target, *rows} for target, rows in zip(target_rows, held, strict=True)]
    if all(clean):
        cleaned = take_out(windows, np.isin(np.arange(sum(lengths)), list(seen)), "part", "training", "way out")
        assert not cleaned.note
    else:
        with pytest.raises(UserError, match=f"^{clean.count(False)} of {len(windows)} windows"):
            take_out(windows, np.isin(np.arange(sum(lengths)), list(seen)), "part", "training", "way out")


def test_windows_of_several_lengths_have_no_one_context(make_store):
    windows = index_windows(make_store([9]), np.arange(1), 5, min_context=2)
    with pytest.raises(AssertionError, match="several lengths"):
        windows.context()
    assert windows.context(windows.length_W == 5).shape == (4, 5, 8)


def test_one_length_is_the_last_five_or_what_the_longest_of_every_part_read(make_store):
    one, other = (index_windows(make_store([n]), np.arange(1), 9, min_context=2) for n in (14, 5))
    both = of_one_length(one, other)
    assert [(w.context_length, len(w)) for w in both] == [(4, 10), (4, 1)]
    assert [(w.context_length, len(w)) for w in of_one_length(one)] == [(5, 9)]
    whole = index_windows(make_store([14]), np.arange(1), 9)
    assert of_one_length(whole)[0] is whole


def test_a_chunk_that_a_short_context_begins_with_is_no_target_of_it(make_store):
    """Supervised at every position, a context's first vector is no target; those behind it may not be excluded."""
    excluded_N = np.isin(np.arange(9), [0])
    windows = index_windows(make_store([9]), np.arange(1), 5, excluded_N=excluded_N, every_position=True, min_context=2)
    assert windows.target_row_W.tolist() == [2, 3, 4, 5, 6, 7, 8]
    excluded_N = np.isin(np.arange(9), [1])
    windows = index_windows(make_store([9]), np.arange(1), 5, excluded_N=excluded_N, every_position=True, min_context=2)
    assert windows.target_row_W.tolist() == [6, 7, 8]
