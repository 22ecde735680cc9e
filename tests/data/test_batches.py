"""Batches do not lean on one document, negatives are what they say, and the number of devices changes nothing.

Shape suffixes: B batch, M negatives a window, W windows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.data.batches import WindowBatches, from_map, negative_rows
from lvm_lab.data.sampler import DiverseBatches, Draw, FixedBatches, count_batches, diverse_batches
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError

COUNTS = st.lists(st.integers(1, 14), min_size=1, max_size=9)


def most_batches(counts: list[int], size: int, at_most: int) -> int:
    """Fill batch after batch from the documents that have most left: the best that can be done."""
    for wanted in range(sum(counts) // size, 0, -1):
        left = [min(count, at_most * wanted) for count in counts]
        filled = True
        for _ in range(wanted):
            batch = [0] * len(left)
            for _ in range(size):
                open_ = [d for d in range(len(left)) if left[d] and batch[d] < at_most]
                if not open_:
                    filled = False
                    break
                document = max(open_, key=lambda d: left[d])
                left[document] -= 1
                batch[document] += 1
        if filled:
            return wanted
    return 0


@given(COUNTS, st.integers(2, 10), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_an_epochs_batches(counts, size, at_most, seed, epoch):
    document_W = np.random.default_rng(7).permutation(np.repeat(np.arange(len(counts)) * 10, counts))
    expected = most_batches(counts, size, at_most)
    if expected == 0:
        with pytest.raises(UserError, match=f"cannot fill one batch of {size}.*lower trainer.batch_size or raise"):
            diverse_batches(document_W, size, at_most, seed, epoch)
        return
    assert count_batches(document_W, size, at_most) == expected
    batches = diverse_batches(document_W, size, at_most, seed, epoch)
    assert batches.shape == (expected, size)
    assert len(np.unique(batches)) == batches.size
    assert batches.min() >= 0
    assert batches.max() < len(document_W)
    for batch in batches:
        assert np.unique(document_W[batch], return_counts=True)[1].max() <= at_most
    assert np.array_equal(batches, diverse_batches(document_W, size, at_most, seed, epoch))


def test_epochs_and_seeds_draw_anew_and_every_window_has_its_turn():
    document_W = np.repeat(np.arange(8), [40, 3, 5, 7, 9, 11, 13, 15])
    drawn = {(s, e): diverse_batches(document_W, 8, 2, s, e) for s in range(2) for e in range(30)}
    assert len({batches.tobytes() for batches in drawn.values()}) == len(drawn)
    assert len(np.unique(np.concatenate([drawn[0, e].ravel() for e in range(30)]))) == len(document_W)


def test_the_last_documents_windows_are_not_all_in_one_place():
    """Rows are mixed within a batch: devices take every world-th, and each must see all kinds of documents."""
    batches = diverse_batches(np.repeat(np.arange(4), 64), 64, 16, seed=0, epoch=0)
    first_half = np.repeat(np.arange(4), 64)[batches[:, :32]]
    assert all(len(np.unique(half)) == 4 for half in first_half)


def test_diverse_batches_follow_the_epoch_they_are_told():
    document_W = np.repeat(np.arange(6), 10)
    sampler = DiverseBatches(document_W, 12, 3, seed=5)
    assert len(sampler) == len(list(sampler)) == count_batches(document_W, 12, 3)
    first = [draw.positions.tolist() for draw in sampler]
    sampler.set_epoch(3)
    draws = list(sampler)
    assert [d.positions.tolist() for d in draws] == diverse_batches(document_W, 12, 3, 5, 3).tolist() != first
    assert len({d.seed for d in draws}) == len(draws)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_fixed_batches_cover_each_window_once_and_never_change(windows, size, seed):
    batches = FixedBatches(windows, size, seed)
    draws = list(batches)
    assert len(draws) == len(batches) == -(-windows // size)
    assert sorted(np.concatenate([d.positions for d in draws]).tolist()) == list(range(windows))
    assert all(len(d.positions) == size for d in draws[:-1])
    for again in (list(batches), list(FixedBatches(windows, size, seed))):
        assert [(d.positions.tolist(), d.seed) for d in again] == [(d.positions.tolist(), d.seed) for d in draws]


def test_fixed_batches_mix_the_documents():
    orders = [np.concatenate([d.positions for d in FixedBatches(100, 10, seed)]).tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert all(order != list(range(100)) for order in orders)


@given(
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=5),
    context_length=st.integers(1, 4),
    count=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_negatives_are_other_chunks_of_the_windows_stretch(make_store, lengths, context_length, count, seed):
    windows = index_windows(make_store(lengths, dim=2), np.arange(len(lengths)), context_length)
    rows_BM, real_BM = negative_rows(windows, count, (seed,))
    assert rows_BM.shape == real_BM.shape == (len(windows), count)
    for i in range(len(windows)):
        target, start, end = int(windows.target_row_W[i]), int(windows.start_W[i]), int(windows.end_W[i])
        others = set(range(start, end)) - set(range(target - context_length, target + 1))
        chosen = rows_BM[i][real_BM[i]].tolist()
        assert len(chosen) == min(count, len(others))
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= others
        # What is masked must still be a row that can be gathered.
        assert all(start <= row < end for row in rows_BM[i])
    again = negative_rows(windows, count, (seed,))
    assert np.array_equal(again[0], rows_BM)
    assert np.array_equal(again[1], real_BM)


def test_every_other_chunk_can_become_a_negative(make_store):
    windows = index_windows(make_store([20], dim=2), np.arange(1), 3).select(np.array([8]))
    seen = np.concatenate([negative_rows(windows, 4, (0, s))[0].ravel() for s in range(120)])
    assert set(seen.tolist()) == set(range(20)) - {8, 9, 10, 11}


def test_a_batch_holds_the_windows_that_were_drawn(make_store):
    store = make_store([9, 12, 7], dtype=np.float16)
    windows = index_windows(store, np.arange(3), 5)
    positions = np.array([7, 0, 12])
    batch = WindowBatches(windows)[Draw(positions, (0,))]
    vectors = np.array(store.vectors_ND).astype(np.float32)
    rows = windows.target_row_W[positions]
    assert batch.context_BLD.dtype == batch.target_ND.dtype == torch.float32
    assert batch.context_BLD.tolist() == [vectors[row - 5 : row].tolist() for row in rows]
    assert batch.target_ND.tolist() == vectors[rows].tolist()
    assert batch.document_N.tolist() == windows.document_W[positions].tolist()
    assert batch.negatives_BMD is None
    assert batch.negatives_mask_BM is None


def test_negatives_come_with_their_mask_and_banned_rows_are_masked(make_store):
    store = make_store([9, 12, 6])
    windows = index_windows(store, np.arange(3), 5)
    draw = Draw(np.arange(len(windows)), (1, 2))
    rows_BM, real_BM = negative_rows(windows, 4, (1, 2))
    excluded_N = np.zeros(27, dtype=bool)
    excluded_N[rows_BM[real_BM][:3]] = True
    batch = WindowBatches(replace(windows, excluded_N=excluded_N), 4)[draw]
    assert batch.negatives_BMD is not None
    assert batch.negatives_mask_BM is not None
    assert np.array_equal(batch.negatives_BMD.numpy(), np.array(store.vectors_ND)[rows_BM])
    assert np.array_equal(batch.negatives_mask_BM.numpy(), real_BM & ~excluded_N[rows_BM])
    assert batch.negatives_mask_BM.sum() < real_BM.sum()
    # The only window of the six-chunk document has no other chunk.
    assert not batch.negatives_mask_BM[-1].any()


@pytest.mark.parametrize("negatives", [0, 3])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_devices_share_out_the_batch_of_one_process(make_store, world, negatives):
    windows = index_windows(make_store([15, 8, 20]), np.arange(3), 5)
    excluded_N = np.arange(43) % 7 == 0
    draw = Draw(np.random.default_rng(0).permutation(len(windows))[:16], (3, 1, 4))
    windows = replace(windows, excluded_N=excluded_N)
    whole = vars(WindowBatches(windows, negatives)[draw])
    shares = [vars(WindowBatches(windows, negatives, rank, world)[draw]) for rank in range(world)]
    for name, tensor in whole.items():
        if tensor is None:
            assert all(share[name] is None for share in shares)
            continue
        union = torch.empty_like(tensor)
        for rank, share in enumerate(shares):
            union[rank::world] = share[name]
        assert torch.equal(union, tensor), name


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_batch_holds_its_windows_to_the_bit(make_store, dtype) -> None:
    windows = index_windows(make_store([9, 12], dtype=dtype), np.arange(2), 5)
    positions = np.array([3, 0, 10])
    batch = WindowBatches(windows)[Draw(positions, (0,))]
    assert batch.context_BLD.dtype == batch.target_ND.dtype == torch.float32
    assert np.array_equal(batch.context_BLD.numpy(), windows.context(positions))
    assert np.array_equal(batch.target_ND.numpy(), windows.vectors(windows.target_row_W[positions]))


def test_every_half_is_read_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite_ND = every[np.isfinite(every)].reshape(-1, 8)
    wide = from_map(finite_ND)(np.arange(len(finite_ND))).numpy()
    assert np.array_equal(wide.view(np.uint32), finite_ND.astype(np.float32).view(np.uint32))
