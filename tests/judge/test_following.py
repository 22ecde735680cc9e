"""`following` and the joint `unseen` against plain loops, on documents of one and of several stretches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.judge_data import preset, windows_of
from lvm_lab.data.windows import Windows
from lvm_lab.judge.following import (
    Targets,
    following_scores,
    later_windows,
    measure_following,
    targets_of,
    units,
    without_seen,
)
from lvm_lab.judge.part_report import unseen_scores
from lvm_lab.types import Prediction

DIM, LENGTHS, FROM = 8, [24, 30, 21, 22, 26], 16
KINDS = ("random", "exact", "tied", "zero")


def cos(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def documents(path: Path, seed: int = 0, length: int = 5) -> Windows:
    """Walks with repeats: rows 19 and 22 of the first document are equal, and so are 3 and 20; the last two stretches
    are one document."""
    vectors = np.random.default_rng(seed).standard_normal((sum(LENGTHS), DIM)).astype(np.float32)
    vectors[22], vectors[20] = vectors[19], vectors[3]
    windows = windows_of(path, vectors, LENGTHS, context_length=length)
    joined = np.array([0, 1, 2, 3, 3])
    assert windows.stretches_S3 is not None
    stretches_S3 = windows.stretches_S3.copy()
    stretches_S3[:, 0] = joined[stretches_S3[:, 0]]
    return replace(windows, document_W=joined[windows.document_W], stretches_S3=stretches_S3)


def predictions(kind: str, windows: Windows, seed: int) -> np.ndarray:
    unit = np.random.default_rng([seed, 1]).standard_normal((len(windows), DIM)).astype(np.float32)
    if kind == "exact":
        unit = windows.vectors(windows.target_row_W)
    if kind == "tied":
        unit = windows.vectors(windows.rows(0))
    return np.zeros_like(unit) if kind == "zero" else unit


def stretches(windows: Windows) -> list[tuple[int, int, int]]:
    assert windows.stretches_S3 is not None
    return [tuple(row) for row in windows.stretches_S3.tolist()]


def slow_targets(windows: Windows, judge_from: int) -> list[int]:
    """Rows with so many of their stretch before them and five of their document behind them."""
    rows = []
    for document, start, end in stretches(windows):
        for row in range(start, end):
            behind = sum(row < r < e for d, s, e in stretches(windows) if d == document for r in range(s, e))
            if row - start >= judge_from and behind >= 5:
                rows.append(row)
    return rows


def slow_following(unit: np.ndarray, windows: Windows, row: int) -> tuple[float, float, float] | None:
    """1 / rank, whether it is the first, and the mean of 1 / rank by chance."""
    vectors = np.asarray(windows.vectors_ND)
    (document,) = (d for d, s, e in stretches(windows) if s <= row < e)
    rivals: list[np.ndarray] = []
    for d, s, e in stretches(windows):
        for other in range(s, e):
            new = not any(np.array_equal(vectors[other], r) for r in [vectors[row], *rivals])
            if d == document and other > row and new:
                rivals.append(vectors[other])
    if len(rivals) + 1 < 6:
        return None
    own = cos(unit, vectors[row])
    rank = 1 + sum(cos(unit, r) >= own - 1e-6 for r in rivals)
    return 1 / rank, float(rank == 1), sum(1 / k for k in range(1, len(rivals) + 2)) / (len(rivals) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_are_those_of_plain_loops(tmp_path: Path, kind: str) -> None:
    later = later_windows(documents(tmp_path), FROM)
    assert later.target_row_W.tolist() == slow_targets(later, FROM)
    unit = predictions(kind, later, 0)
    scores = following_scores(unit, later)
    expected = [slow_following(u, later, row) for u, row in zip(unit, later.target_row_W.tolist(), strict=True)]
    assert None in expected, "a repeat leaves some target too few"
    for place, one in enumerate(expected):
        mine = [scores[name][place] for name in ("mrr", "r1", "chance_mrr")]
        assert mine == pytest.approx([np.nan] * 3 if one is None else list(one), abs=1e-6, nan_ok=True)


@given(
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=5),
    judge_from=st.integers(1, 8),
    own=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_targets_hang_on_the_documents_alone(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], judge_from: int, own: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).integers(1, 4, (sum(lengths), 2)).astype(np.float32)
    path = tmp_path_factory.mktemp("store")
    read = [
        later_windows(windows_of(path / str(length), vectors, lengths, context_length=length), judge_from)
        for length in (own, own + 3)
    ]
    assert read[0].target_row_W.tolist() == read[1].target_row_W.tolist() == slow_targets(read[0], judge_from)
    digests = [targets_of(later, judge_from, 7, seed).digest for later in read]
    assert digests[0] == digests[1]
    unit = predictions("random", read[0], seed)[:, :2]
    expected = [slow_following(u, read[0], row) for u, row in zip(unit, read[0].target_row_W.tolist(), strict=True)]
    mine = following_scores(unit, read[0])["mrr"]
    assert mine == pytest.approx([np.nan if e is None else e[0] for e in expected], abs=1e-6, nan_ok=True)


def test_two_readers_are_measured_on_the_same_targets_and_each_reads_its_own(tmp_path: Path) -> None:
    """A reader of 5 and one of 20, which has 16 to 20 vectors before a target: each gets the end of the stretch."""
    contexts: dict[int, list[np.ndarray]] = {5: [], 20: []}
    targets = {}
    for length, seen in contexts.items():

        def predictor(context_BLD: torch.Tensor, seen: list[np.ndarray] = seen) -> Prediction:
            seen.extend(context_BLD.numpy())
            return Prediction.from_raw(context_BLD[:, -1])

        later = later_windows(documents(tmp_path / str(length), length=length), FROM)
        targets[length] = targets_of(later, FROM, 100, 0)
        measured = measure_following(predictor, targets[length], preset(resamples=20))
        assert set(measured.numbers) == {"mrr", "r1", "r5", "chance_mrr", "chance_r1", "chance_r5"}
        assert measured.values()["following/mrr"] == measured.numbers["mrr"].value
    assert targets[5].digest == targets[20].digest is not None
    assert {len(context) for context in contexts[5]} == {5}
    assert {len(context) for context in contexts[20]} == {16, 17, 18, 19, 20}
    windows = targets[20].windows
    before = {row - start for row, start in zip(windows.target_row_W.tolist(), windows.start_W.tolist(), strict=True)}
    assert min(before) == FROM
    ends = sorted(tuple(context[-5:].ravel()) for context in contexts[20])
    assert ends == sorted(tuple(context.ravel()) for context in contexts[5])


def test_another_start_is_another_target_set(tmp_path: Path) -> None:
    windows = documents(tmp_path)
    one, other = (targets_of(later_windows(windows, start), start, 1000, 0) for start in (FROM, FROM + 1))
    assert len(one.windows) > len(other.windows)
    assert one.digest != other.digest
    assert one.digest != targets_of(later_windows(windows, FROM), FROM, 3, 0).digest
    copy_last = measure_following(lambda x: Prediction.from_raw(x[:, -1]), one, preset(resamples=20))
    elsewhere = measure_following(lambda x: Prediction.from_raw(x[:, -1]), other, preset(resamples=20))
    assert copy_last.less(elsewhere) == {}, "other targets are not paired"
    same = copy_last.less(copy_last)
    assert {number.value for number in same.values()} == {0.0}
    assert set(same) == {"mrr", "r1", "r5"}


def test_rows_that_may_be_no_target_are_none_and_stay_candidates(tmp_path: Path) -> None:
    windows = documents(tmp_path)
    excluded_N = np.zeros(sum(LENGTHS), dtype=bool)
    excluded_N[LENGTHS[0] + FROM + 1] = True
    whole, fewer = later_windows(windows, FROM), later_windows(replace(windows, excluded_N=excluded_N), FROM)
    kept = np.isin(whole.target_row_W, fewer.target_row_W)
    assert whole.target_row_W[~kept].tolist() == [LENGTHS[0] + FROM + 1]
    unit = predictions("random", whole, 0)
    assert np.array_equal(
        following_scores(unit, whole)["chance_mrr"][kept],
        following_scores(unit[kept], fewer)["chance_mrr"],
        equal_nan=True,
    )


def test_nothing_is_ranked_behind_a_chunk_that_was_trained_on(tmp_path: Path) -> None:
    """However far back who reads: what stands in the stretch up to the target counts, and nothing after it."""
    windows = documents(tmp_path)
    whole = later_windows(windows, FROM)
    for row, gone in ((LENGTHS[0], "all"), (LENGTHS[0] + FROM + 2, "rest"), (LENGTHS[0] + 29, "none")):
        seen_N = np.zeros(sum(LENGTHS), dtype=bool)
        seen_N[row] = True
        left = without_seen(whole, seen_N)
        second = [r for r in whole.target_row_W.tolist() if LENGTHS[0] <= r < LENGTHS[0] + 30]
        out = {"all": second, "rest": [r for r in second if r >= row], "none": []}[gone]
        assert sorted(set(whole.target_row_W.tolist()) - set(left.target_row_W.tolist())) == out
        assert later_windows(replace(windows, seen_N=seen_N), FROM).target_row_W.tolist() == left.target_row_W.tolist()


def test_short_documents_isolated_windows_and_bad_predictions_say_why_there_is_nothing(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((63, DIM)).astype(np.float32)
    asked = preset(resamples=20)

    def zeros(context_BLD: torch.Tensor) -> Prediction:
        return Prediction.from_raw(torch.zeros_like(context_BLD[:, 0]))

    def nan(context_BLD: torch.Tensor) -> Prediction:
        return Prediction.from_raw(torch.full_like(context_BLD[:, 0], torch.nan))

    def one_length(context_BLD: torch.Tensor) -> Prediction:
        return Prediction.from_raw(context_BLD.flatten(1) @ torch.ones(20 * DIM, DIM))

    short = targets_of(later_windows(windows_of(tmp_path / "a", vectors, 21), FROM), FROM, 100, 0)
    assert measure_following(zeros, short, asked).to_dict() == {
        "judge_from": 16,
        "targets": 0,
        "documents": 0,
        "digest": None,
        "reason": "no document has 22 chunks: a target from row 16 on, and 5 behind it",
        "numbers": {},
    }
    alone = windows_of(tmp_path / "b", vectors[:46], 23, isolated=True)
    assert "isolated windows" in str(targets_of(later_windows(alone, FROM), FROM, 100, 0).reason)
    long = targets_of(later_windows(documents(tmp_path / "c", length=20), FROM), FROM, 100, 0)
    assert measure_following(zeros, long, asked).numbers["mrr"].value < 0.25, "zeros tie with all and rank last"
    for predictor, words in (
        (nan, "predictions are not finite"),
        (one_length, "reads 20 vectors and cannot read 16"),
    ):
        bad = measure_following(predictor, long, asked)
        assert (bad.numbers, words in str(bad.reason)) == ({}, True), bad.reason
    with pytest.raises(RuntimeError):
        units(one_length, documents(tmp_path / "d", length=5))


def slow_unseen(unit: np.ndarray, windows: Windows, row: int, read: list[int]) -> float | None:
    vectors = np.asarray(windows.vectors_ND)
    (document,) = (d for d, s, e in stretches(windows) if s <= row < e)
    rivals: list[np.ndarray] = []
    for d, s, e in stretches(windows):
        for other in range(s, e):
            known = [vectors[row], *rivals, *(vectors[r] for r in read)]
            if d == document and not any(np.array_equal(vectors[other], r) for r in known):
                rivals.append(vectors[other])
    if len(rivals) + 1 < 6:
        return None
    own = cos(unit, vectors[row])
    return 1 / (1 + sum(cos(unit, r) >= own - 1e-6 for r in rivals))


@pytest.mark.parametrize("kind", KINDS)
def test_unseen_leaves_out_what_the_longest_reader_has_read(tmp_path: Path, kind: str) -> None:
    """The windows of a reader of 5, in a table whose longest reads 16, and, near the beginning, as much as there is."""
    windows = documents(tmp_path)
    windows = windows.select(np.flatnonzero(windows.has(-9, 1)))
    unit = predictions(kind, windows, 0)
    mine = unseen_scores(unit, windows, 16)
    expected = []
    for u, row, start in zip(unit, windows.target_row_W.tolist(), windows.start_W.tolist(), strict=True):
        expected.append(slow_unseen(u, windows, row, list(range(max(start, row - 16), row))))
    assert mine["unseen"]["mrr"] == pytest.approx([np.nan if e is None else e for e in expected], abs=1e-6, nan_ok=True)
    own = unseen_scores(unit, windows, 5)["unseen"]["mrr"]
    assert kind == "exact" or not np.allclose(own, mine["unseen"]["mrr"], equal_nan=True), "its own context is another"


def test_a_sample_is_drawn_evenly_over_documents(tmp_path: Path) -> None:
    later = later_windows(documents(tmp_path), FROM)
    sample: Targets = targets_of(later, FROM, 3, 0)
    counts = np.unique(sample.windows.document_W, return_counts=True)[1]
    assert counts.tolist() == [1, 1, 1]
