"""Segments of documents: none crosses a document, every target has read enough, all come up, and nothing else decides.

Shape suffixes: S segments, N supervised targets, B batch, L context length, M candidates a segment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.config.data import DataSettings
from lvm_lab.config.settings import TrainerSettings
from lvm_lab.data.batches import SegmentBatches, WindowBatches
from lvm_lab.data.sampler import Draw
from lvm_lab.data.seen import rows_of, take_out
from lvm_lab.data.segments import Cuts, SegmentDraw, SegmentSampler, fixed_draws
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.errors import UserError
from lvm_lab.types import Batch

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@st.composite
def documents(draw: Any) -> tuple[list[int], int, int, np.ndarray]:
    """lengths, context_length, shortest, and which rows are excluded."""
    lengths = draw(LENGTHS)
    context = draw(st.integers(1, 9))
    share = draw(st.sampled_from([0.0, 0.3, 0.9]))
    excluded_N = np.random.default_rng(draw(st.integers(0, 9))).random(sum(lengths)) < share
    return lengths, context, draw(st.integers(1, context)), excluded_N


def in_memory(world: tuple[list[int], int, int, np.ndarray]) -> Windows:
    """The windows of such documents, without a store on disk."""
    lengths, context, shortest, excluded_N = world
    end_S = np.cumsum(lengths)
    start_S = end_S - lengths
    of_N = np.repeat(np.arange(len(lengths)), lengths)
    row_N = np.arange(len(of_N))
    target_W = row_N[(row_N - start_S[of_N] >= shortest) & ~excluded_N]
    of_W = of_N[target_W]
    vectors_ND = np.zeros((len(of_N), 2), dtype=np.float32)
    return Windows(vectors_ND, target_W, of_W, start_S[of_W], end_S[of_W], context, excluded_N)


def windows_of(make_store: Any, lengths: list[int], context: int, shortest: int, excluded_N: Any = None) -> Windows:
    store = make_store(lengths, dim=2)
    every = np.arange(len(lengths))
    return index_windows(store, every, context, excluded_N=excluded_N, min_context=shortest)


@given(documents(), st.integers(0, 5))
def test_segments_cover_every_target_once_within_its_document(world, seed):
    lengths, context, shortest, excluded_N = world
    windows = in_memory(world)
    if len(windows) == 0:
        return
    cuts = Cuts(windows, shortest)
    counts = set()
    for rng in (None, np.random.default_rng(seed), np.random.default_rng(seed + 100)):
        segments = cuts.segments(rng)
        own = segments.windows
        # Every target that the part has, and no other, whatever the phase.
        assert sorted(own.target_row_W[segments.window_N].tolist()) == sorted(windows.target_row_W.tolist())
        assert segments.count_S.min() >= 1
        for s in range(len(segments)):
            first, end = int(segments.first_S[s]), int(segments.end_S[s])
            places = range(int(segments.window_S[s]), int(segments.window_S[s] + segments.count_S[s]))
            assert own.start_W[places[0]] <= first
            assert end <= own.end_W[places[0]]
            assert end - first <= context + 1
            assert {int(own.document_W[w]) for w in places} == {int(segments.document_S[s])}
            rows = own.target_row_W[list(places)]
            assert ((rows >= first + shortest) & (rows < end)).all()
            assert not excluded_N[rows].any()
        if rng is not None:
            counts.add(tuple(np.bincount(segments.document_S, minlength=len(lengths)).tolist()))
    # As many of each document in every epoch, so that every epoch has as many batches.
    assert len(counts) == 1


def test_phases_move_and_short_documents_stay_whole(make_store):
    windows = windows_of(make_store, [60, 9, 31], 8, 3)
    cuts = Cuts(windows, 3)
    drawn = [cuts.segments(np.random.default_rng(seed)) for seed in range(60)]
    assert len({segments.first_S.tobytes() for segments in drawn}) > 8
    for segments in drawn:
        (whole,) = np.flatnonzero(segments.document_S == 1)
        assert (segments.first_S[whole], segments.end_S[whole]) == (60, 69)
    # A target in the middle has read now more and now less, by half a segment's worth at least.
    read = set()
    for segments in drawn:
        (target,) = np.flatnonzero(segments.windows.target_row_W[segments.window_N] == 30)
        read.add(int(30 - segments.first_S[segments.segment_N[target]]))
    assert read <= set(range(3, 9))
    assert len(read) >= 4


def test_windows_of_one_length_are_their_own_segments(make_store):
    windows = windows_of(make_store, [12, 9], 5, 5)
    segments = Cuts(windows, 5).segments(np.random.default_rng(0))
    assert segments.first_S.tolist() == (windows.target_row_W - 5).tolist()
    assert set(segments.count_S.tolist()) == {1}


def test_unsupervised_stretches_are_left_out_and_read_where_they_are_near(make_store):
    """Of a document of 60 the targets 5 .. 9 and 50 alone are trained on, as after a take-out."""
    windows = windows_of(make_store, [60], 8, 3)
    kept = windows.select(np.isin(windows.target_row_W, [5, 6, 7, 8, 9, 50]))
    segments = Cuts(kept, 3).segments(np.random.default_rng(1))
    assert segments.first_S.tolist() == [2, 47]
    assert segments.end_S.tolist() == [10, 51]
    assert segments.count_S.tolist() == [5, 1]


@given(documents(), st.integers(2, 6), st.integers(1, 4), st.integers(0, 3))
def test_an_epochs_segments_are_diverse_and_a_function_of_seed_and_epoch(world, size, at_most, seed):
    windows, shortest = in_memory(world), world[2]
    if len(windows) == 0:
        return
    _, counts = np.unique(Cuts(windows, shortest).segments(np.random.default_rng(0)).document_S, return_counts=True)
    if np.minimum(counts, at_most).sum() < size:
        with pytest.raises(UserError, match=r"training segments .* lower trainer.batch_size or raise data.max_per_doc"):
            SegmentSampler(Cuts(windows, shortest), size, at_most, seed)
        return
    sampler, again = (SegmentSampler(Cuts(windows, shortest), size, at_most, seed) for _ in range(2))
    list(again)
    for epoch in (3, 0):
        for each in (sampler, again):
            each.set_epoch(epoch)
        draws = list(sampler)
        assert len(draws) == len(sampler)
        targets = [draw.segments.windows.target_row_W[draw.segments.window_N].tolist() for draw in draws]
        assert targets == [d.segments.windows.target_row_W[d.segments.window_N].tolist() for d in again]
        assert [draw.seed for draw in draws] == [(seed, epoch, number) for number in range(len(draws))]
        assert sampler.targets == sum(map(len, targets))
        assert len({row for rows in targets for row in rows}) == sampler.targets
        for draw in draws:
            assert len(draw.segments) == size
            assert np.bincount(draw.segments.document_S).max() <= at_most


def draw_of(windows: Windows, shortest: int, positions: list[int] | None = None, seed: int = 0) -> SegmentDraw:
    segments = Cuts(windows, shortest).segments(np.random.default_rng(seed))
    return SegmentDraw(segments if positions is None else segments.select(np.array(positions)), (seed, 1))


def test_a_batch_holds_its_segments_and_pads_to_the_longest(make_store):
    windows = windows_of(make_store, [20, 4, 11], 6, 2)
    draw = draw_of(windows, 2)
    segments = draw.segments
    batch = SegmentBatches()[draw]
    vectors_ND = torch.from_numpy(np.array(windows.vectors_ND))
    lengths = (segments.end_S - segments.first_S).tolist()
    length = max(lengths) - 1
    assert batch.context_BLD.shape == (len(segments), length, 2)
    assert batch.index_N is not None
    assert batch.index_N.tolist() == sorted(batch.index_N.tolist())
    assert len(batch.index_N) == len(batch.target_ND) == len(batch.document_N) == len(windows)
    for n, index in enumerate(batch.index_N.tolist()):
        b, place = divmod(index, length)
        row = int(windows.target_row_W[n])
        assert place + 1 >= 2
        first = int(segments.first_S[b])
        assert first + place + 1 == row
        assert torch.equal(batch.context_BLD[b, : place + 1], vectors_ND[first:row])
        assert torch.equal(batch.target_ND[n], vectors_ND[row])
        assert int(batch.document_N[n]) == int(windows.document_W[n])
    assert batch.pool_B is not None
    for b, n in enumerate(batch.pool_B.tolist()):
        assert int(batch.index_N[n]) // length == b


def test_candidates_are_of_the_stretch_and_say_where_they_lie(make_store):
    windows = windows_of(make_store, [20, 5, 30], 6, 2, np.arange(55) % 9 == 0)
    draw = draw_of(windows, 2)
    batch = SegmentBatches(negatives=7)[draw]
    assert batch.negatives_BMD is not None
    assert batch.negatives_mask_BM is not None
    assert batch.place_BM is not None
    segments = draw.segments
    vectors_ND = torch.from_numpy(np.array(windows.vectors_ND))
    for b in range(len(segments)):
        rows = batch.place_BM[b].numpy() + segments.first_S[b]
        start, end = (int(x[segments.window_S[b]]) for x in (segments.windows.start_W, segments.windows.end_W))
        real = batch.negatives_mask_BM[b].numpy()
        assert ((rows >= start) & (rows < end)).all()
        assert len(set(rows[real].tolist())) == real.sum()
        assert real.sum() == min(7, end - start) - sum(int(row) % 9 == 0 for row in set(rows.tolist()))
        assert torch.equal(batch.negatives_BMD[b], vectors_ND[rows])


@pytest.mark.parametrize("negatives", [0, 3])
@pytest.mark.parametrize("world", [2, 3])
def test_devices_share_out_the_segments_of_one_process(make_store, world, negatives):
    windows = windows_of(make_store, [25, 8, 20], 6, 2, np.arange(53) % 7 == 0)
    draw = draw_of(windows, 2, [5, 0, 3, 7, 2, 6])
    whole = SegmentBatches(negatives)[draw]
    for rank in range(world):
        share = SegmentBatches(negatives, rank, world)[draw]
        length = share.context_BLD.shape[1]
        assert torch.equal(share.context_BLD, whole.context_BLD[rank::world, :length])
        one, all_of = rows_by_segment(share), rows_by_segment(whole)
        for b, rows in enumerate(one):
            assert rows == all_of[b * world + rank]
        if negatives:
            for name in ("negatives_BMD", "negatives_mask_BM", "place_BM"):
                assert torch.equal(getattr(share, name), getattr(whole, name)[rank::world]), name


def rows_by_segment(batch: Batch) -> list[tuple[list[Any], list[float]]]:
    """Of each segment: its places with their targets and documents, and the target that stands for it in the pool."""
    assert batch.index_N is not None
    assert batch.pool_B is not None
    length = batch.context_BLD.shape[1]
    rows: list[list[Any]] = [[] for _ in batch.context_BLD]
    for n, index in enumerate(batch.index_N.tolist()):
        rows[index // length].append((index % length, batch.target_ND[n].tolist(), int(batch.document_N[n])))
    return [(part, batch.target_ND[n].tolist()) for part, n in zip(rows, batch.pool_B.tolist(), strict=True)]


def test_segments_of_one_target_are_the_windows_batch(make_store):
    windows = windows_of(make_store, [15, 8, 20], 5, 5)
    positions = [4, 0, 9, 13]
    segments = SegmentBatches()[draw_of(windows, 5, positions)]
    alone = WindowBatches(windows)[Draw(np.array(positions), (0,))]
    assert torch.equal(segments.context_BLD, alone.context_BLD)
    assert torch.equal(segments.target_ND, alone.target_ND)
    assert torch.equal(segments.document_N, alone.document_N)
    assert segments.index_N is not None
    assert segments.index_N.tolist() == [4, 9, 14, 19]


def test_validation_takes_the_same_segments_every_time_evenly_of_all_documents(make_store):
    windows = windows_of(make_store, [200, 12, 12, 12], 6, 2)
    one, two = (fixed_draws(windows, 2, 12, 5, seed=3) for _ in range(2))
    assert [len(draw.segments) for draw in one] == [5, 5, 2]
    for a, b in zip(one, two, strict=True):
        assert (a.seed, a.segments.first_S.tolist()) == (b.seed, b.segments.first_S.tolist())
    documents = np.concatenate([draw.segments.document_S for draw in one])
    # 12 rows of 2 to 6 read are two segments each.
    assert np.bincount(documents).tolist() == [6, 2, 2, 2]


def test_what_short_windows_have_read_ends_at_their_documents_beginning(make_store):
    windows = windows_of(make_store, [10, 10, 10], 6, 2)
    middle = windows.select(windows.document_W == 1)
    assert rows_of(middle).tolist() == list(range(10, 20))
    # A row of the document before is none of a context that begins with its own.
    seen_N = np.arange(30) == 9
    assert len(take_out(middle, seen_N, "a part", "a training", "a way out").windows) == len(middle)


def test_documents_supervise_every_place_by_themselves():
    data = DataSettings(windows="documents", context_length=8)
    data.check_supervision(TrainerSettings().supervision)
    with pytest.raises(UserError, match=r"by itself; leave trainer\.supervision=last\.$"):
        data.check_supervision("all")
    DataSettings().check_supervision("all")
