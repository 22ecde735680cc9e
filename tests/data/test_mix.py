"""Stores that are mixed by weight, and the first documents by hash: what an epoch draws, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_lab.config.data import DataSettings
from lvm_lab.config.mix import MIX, paths_of
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.sampler import DiverseBatches, Mix, Resumable, weighed
from lvm_lab.data.segments import Cuts, SegmentSampler
from lvm_lab.data.source import Opened
from lvm_lab.data.sources.npz import Npz
from lvm_lab.errors import UserError
from lvm_lab.runs.identity import as_cut, fingerprint, ground
from lvm_lab.training.datamodule import VectorDataModule

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=8)
WEIGHTS = st.lists(st.sampled_from([0.1, 0.5, 1.0, 1.5, 2.0, 3.25]), min_size=8, max_size=8)


def laid(sizes: list[int], weights: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Documents of these sizes, in no order, with a weight each."""
    document_W = np.random.default_rng(sum(sizes)).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return document_W, np.asarray(weights)[document_W]


@settings(max_examples=60, deadline=None)
@given(SIZES, WEIGHTS, st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_draws_of_each_document_as_its_weight_says(
    sizes: list[int], weights: list[float], seed: int, epoch: int
) -> None:
    document_W, weight_W = laid(sizes, weights)
    mix = Mix(document_W, weight_W)
    drawn = mix.positions(seed, epoch)
    wanted = [size * weight for size, weight in zip(sizes, weights, strict=False)]
    counts = np.bincount(document_W[drawn], minlength=len(sizes))
    assert (np.abs(counts - wanted) < 1 + 1e-9).all()
    assert abs(len(drawn) - sum(wanted)) <= 0.5 + 1e-9
    # Nothing comes twice more often than another of its document.
    times = np.bincount(drawn, minlength=len(document_W))
    assert all(np.ptp(times[document_W == document]) <= 1 for document in range(len(sizes)))
    assert np.array_equal(drawn, Mix(document_W, weight_W).positions(seed, epoch))
    assert np.array_equal(np.sort(document_W[drawn]), mix.document_W)
    assert len(drawn) == len(mix.positions(seed, epoch + 1))


def test_weights_of_one_change_nothing() -> None:
    document_W, weight_W = laid([5, 9, 7, 3], [1.0] * 4)
    assert weighed(weight_W, document_W) is None
    plain, given_ones = DiverseBatches(document_W, 4, 2, 7), DiverseBatches(document_W, 4, 2, 7, weight_W)
    for one, other in zip(plain, given_ones, strict=True):
        assert np.array_equal(one.positions, other.positions)


@pytest.mark.parametrize("weights", [[2.0, 1.0, 0.5, 1.0], [0.1, 3.0, 1.0, 1.0]])
def test_batches_of_a_mix_go_on_where_they_stopped(weights: list[float]) -> None:
    document_W, weight_W = laid([30, 20, 25, 40], weights)
    whole, resumed = (Resumable(DiverseBatches(document_W, 8, 4, 3, weight_W)) for _ in range(2))
    for epoch in range(3):
        whole.set_epoch(epoch)
        resumed.set_epoch(epoch)
        resumed.skip(2)
        every, rest = list(whole), list(resumed)
        assert len(every) == len(whole)
        assert len(rest) == len(every) - 2
        for draw, again in zip(every[2:], rest, strict=True):
            assert np.array_equal(draw.positions, again.positions)
            assert draw.seed == again.seed
        assert all(np.bincount(document_W[draw.positions]).max() <= 4 for draw in every)


@pytest.fixture
def two(make_store: Any) -> list[Path]:
    return [make_store([12] * 60, seed=1).path, make_store([9] * 50, seed=2).path]


def parts_of(cache: Path, path: Any, **changes: Any) -> Parts:
    asked = DataSettings(**changes)
    return cut_parts(Npz(path=path).open(cache, asked), asked, cache, every_position=False)


def drawn_of(parts: Parts, shortest: int | None = None) -> np.ndarray:
    """How many windows, or targets of segments, an epoch draws of each store."""
    module = VectorDataModule(parts, 16, 8, 0, seed=0, shortest=shortest)
    sampler = module.train_dataloader().sampler.sampler  # type: ignore[attr-defined]
    assert parts.training is not None
    store_D = np.asarray(parts.training.store.documents.store)
    if isinstance(sampler, SegmentSampler):
        documents = np.concatenate([draw.segments.document_S for draw in sampler])
    else:
        documents = parts.train.document_W[np.concatenate([draw.positions for draw in sampler])]
    return np.bincount(store_D[documents], minlength=2)


@pytest.mark.parametrize("changes", [{}, {"windows": "documents", "context_length": 4, "min_context": 2}])
def test_a_weight_is_how_often_training_draws_of_a_store(tmp_path: Path, two: list[Path], changes: Any) -> None:
    a, b = map(str, two)
    shortest = changes.get("min_context")
    plain, heavy = parts_of(tmp_path, [a, b], **changes), parts_of(tmp_path, [{"path": a, "weight": 3}, b], **changes)
    # The same documents stand in the same parts; only what an epoch draws is other.
    for part in ("train", "val", "test"):
        assert np.array_equal(getattr(plain, part).target_row_W, getattr(heavy, part).target_row_W)
    assert plain.cut == heavy.cut
    before, after = drawn_of(plain, shortest), drawn_of(heavy, shortest)
    first = int(np.argmax(after / before))
    assert after[first] == pytest.approx(3 * before[first], rel=0.1)
    assert after[1 - first] == pytest.approx(before[1 - first], rel=0.25)


def test_weights_are_of_the_stores_whatever_their_order(tmp_path: Path, two: list[Path]) -> None:
    a, b = map(str, two)
    heavy, same, other = (
        Npz(path=path).open(tmp_path, DataSettings()).content
        for path in ([{"path": a, "weight": 2}, b], [b, {"path": a, "weight": 2.0}], [a, {"path": b, "weight": 2}])
    )
    assert heavy == same != other
    assert MIX not in Npz(path=[{"path": a, "weight": 1}, b]).open(tmp_path, DataSettings()).content


def test_a_weight_makes_another_run_on_the_same_ground() -> None:
    node = {"name": "npz", "_target_": "lvm_lab.data.sources.npz.Npz", "path": ["b", {"path": "a", "weight": 2}]}
    config = {"arch": {"name": "gru"}, "loss": {"name": "mse"}, "data": node}
    with_mix, without = {"store": "s", MIX: "2.0, 1.0"}, {"store": "s"}
    assert fingerprint(config, with_mix) != fingerprint(config, without)
    assert ground(config, with_mix) == ground(config, without)
    assert as_cut(node)["path"] == ["a", "b"] == as_cut(node | {"path": ["a", "b"]})["path"]
    assert paths_of("a") == ["a"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ([{"path": "a", "weight": 0}, "b"], "data.path[0].weight=0 does not fit"),
        # An epoch of so many windows fills the memory of any machine.
        (
            [{"path": "a", "weight": 1e6}, "b"],
            "data.path[0].weight=1000000.0 does not fit; give it a number above 0, 1000",
        ),
        ([{"path": "a", "weight": "two"}, "b"], "data.path[0].weight='two' does not fit"),
        (["b", {"path": "a", "wieght": 2}], "data.path[1].wieght does not exist (did you mean weight?)"),
        ([{"weight": 2}, "b"], "data.path[0] has no path"),
        ([{"path": "a", "weight": 2}], "a weight for one store alone"),
    ],
)
def test_weights_that_do_not_fit_are_told(tmp_path: Path, path: Any, words: str) -> None:
    with pytest.raises(UserError) as refused:
        Npz(path=path).open(tmp_path, DataSettings())
    assert words in str(refused.value)


def test_the_first_documents_are_a_part_of_more(tmp_path: Path, two: list[Path]) -> None:
    whole = parts_of(tmp_path, str(two[0]))
    few, more, every = (parts_of(tmp_path, str(two[0]), first=first) for first in (5, 11, 1000))
    documents = [set(part.train.document_W.tolist()) for part in (few, more, every, whole)]
    assert [len(one) for one in documents[:2]] == [5, 11]
    assert documents[0] < documents[1] < documents[2] == documents[3]
    assert all(len(part.train) == 7 * len(one) for part, one in zip((few, more), documents, strict=False))
    for part in ("val", "test"):
        assert np.array_equal(getattr(few, part).target_row_W, getattr(whole, part).target_row_W)
    # What train_windows takes are the first of the same documents.
    windows = parts_of(tmp_path, str(two[0]), train_windows=7 * 5)
    assert np.array_equal(windows.train.target_row_W, few.train.target_row_W)
    assert np.array_equal(windows.stats.mean_D, few.stats.mean_D)


def test_first_and_train_windows_together_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.first=5 and data\.train_windows=9 both say .*leave one of them out"):
        DataSettings(first=5, train_windows=9)
    with pytest.raises(UserError, match=r"data\.first=0 leaves nothing"):
        DataSettings(first=0)


def test_segments_of_a_mix_are_as_many_every_epoch(make_store: Any, tmp_path: Path) -> None:
    store = make_store([40, 13, 25, 60, 9, 31] * 4, seed=3)
    asked = DataSettings(windows="documents", context_length=6, min_context=3)
    parts = cut_parts(Opened(store, {"store": store.content}), asked, tmp_path, every_position=False)
    cuts = Cuts(parts.train, 3)
    weight_W = np.where(cuts.windows.document_W % 2 == 0, 2.5, 0.5)
    sampler = SegmentSampler(cuts, 8, 4, 0, weight_W)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler)
