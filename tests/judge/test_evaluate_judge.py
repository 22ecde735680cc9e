"""Contrastive accuracy, retrieval in the whole store and latency against plain loops."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.judge_data import windows_of
from lvm_lab.data.windows import Windows
from lvm_lab.judge import store_retrieval
from lvm_lab.judge.contrastive import contrastive_scores
from lvm_lab.judge.latency import latency
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.types import Prediction

DIM, LENGTHS = 12, [7, 9, 6, 8]
KINDS = ("random", "exact", "tied", "constant", "zero")


def cos(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def planted(kind: str, seed: int) -> np.ndarray:
    """Chunks with repeats (rows 3, 11 and 20 are equal) and pairs that only a length tells apart (5 and 14)."""
    vectors = np.random.default_rng(seed).standard_normal((sum(LENGTHS), DIM)).astype(np.float32)
    if kind == "constant":
        vectors[:] = vectors[0]
        vectors[1::2] *= 2
    vectors[11] = vectors[20] = vectors[3]
    vectors[14] = 2 * vectors[5]
    return vectors


def predictions(kind: str, windows: Windows, seed: int) -> np.ndarray:
    unit = np.random.default_rng([seed, 1]).standard_normal((len(windows), DIM)).astype(np.float32)
    if kind == "exact":
        unit = windows.vectors(windows.target_row_W)
    if kind == "tied":
        unit = windows.context()[:, -1]
    if kind == "zero":
        unit = np.zeros_like(unit)
    return unit


def slow_store(unit: np.ndarray, windows: Windows) -> dict[str, list[float]]:
    rows = np.asarray(windows.vectors_ND)
    found: dict[str, list[float]] = {"mrr": [], "r1": [], "r5": [], "r10": [], "mrr_unseen": [], "chance_r1": []}
    for prediction, target in zip(unit, windows.target_row_W.tolist(), strict=True):
        own = cos(prediction, rows[target])
        before, unseen, rivals, fresh = 0, 0, 0, 0
        for row in range(len(rows)):
            if np.array_equal(rows[row], rows[target]):
                continue
            seen = target - windows.context_length <= row < target
            near = cos(prediction, rows[row]) >= own - 1e-6
            rivals, fresh = rivals + 1, fresh + (not seen)
            before, unseen = before + near, unseen + (near and not seen)
        found["mrr"].append(1 / (before + 1))
        found["mrr_unseen"].append(1 / (unseen + 1) if fresh else np.nan)
        found["chance_r1"].append(1 / (rivals + 1))
        for k in (1, 5, 10):
            found[f"r{k}"].append(float(before < k))
    return found


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), length=st.integers(1, 5), step=st.integers(3, 40))
def test_ranks_in_the_store_are_those_of_a_plain_loop(tmp_path_factory, seed, kind, length, step):
    folder = tmp_path_factory.mktemp("store") / "s"
    windows = windows_of(folder, planted(kind, seed), LENGTHS, context_length=length, normalised=False)
    unit = predictions(kind, windows, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_retrieval, "BLOCK", step)
        patch.setattr(store_retrieval, "PAIRS", 5 * step)
        fast = store_scores(unit, windows)
    for name, expected in slow_store(unit, windows).items():
        np.testing.assert_allclose(fast[name], expected, atol=1e-12, err_msg=f"{kind} {name}")


def test_the_leaky_answer_is_first_in_the_store_and_nan_is_last(tmp_path):
    windows = windows_of(tmp_path / "s", planted("random", 0), LENGTHS, normalised=False)
    unit = windows.vectors(windows.target_row_W)
    unit[2, 0] = np.nan
    found = store_scores(unit, windows)
    assert found["r1"].tolist().count(0) == 1 + int(
        (windows.target_row_W == 14).sum() + (windows.target_row_W == 5).sum()
    )
    candidates = 1 / found["chance_r1"][2]
    assert found["mrr"][2] == pytest.approx(1 / candidates)
    assert found["r1"][2] == found["r10"][2] == 0


def slow_contrast(unit: np.ndarray, windows: Windows, i: int, places: list[int]) -> tuple[float, float]:
    targets = windows.vectors(windows.target_row_W)
    own, rivals, first = cos(unit[i], targets[i]), 0, True
    for j in places:
        if np.array_equal(targets[i], targets[j]):
            continue
        rivals += 1
        first &= cos(unit[i], targets[j]) < own - 1e-6
    return (float(first), 1 / (rivals + 1)) if rivals else (np.nan, np.nan)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS), size=st.integers(2, 40))
def test_contrastive_accuracy_is_that_of_a_plain_loop(tmp_path_factory, seed, kind, size):
    folder = tmp_path_factory.mktemp("store") / "s"
    windows = windows_of(folder, planted(kind, seed), LENGTHS, context_length=2, normalised=False)
    unit = predictions(kind, windows, seed)
    fast = contrastive_scores(unit, windows, batch=size, documents=3, seed=seed)
    # The draws are the function's own; which windows compete is taken from them, the rest is done anew.
    rng = np.random.default_rng([seed, 4])
    shuffled, size = rng.permutation(len(windows)).tolist(), min(size, len(windows))
    expected = {i: (np.nan, np.nan) for i in range(len(windows))}
    for start in range(0, len(windows) - size + 1, size):
        batch = shuffled[start : start + size]
        expected |= {i: slow_contrast(unit, windows, i, batch) for i in batch}
    np.testing.assert_allclose(fast["in_batch"], [expected[i][0] for i in range(len(windows))])
    np.testing.assert_allclose(fast["chance_in_batch"], [expected[i][1] for i in range(len(windows))])
    again = rng.permutation(len(windows))
    first = {document: i for i, document in reversed(list(zip(again, windows.document_W[again], strict=True)))}
    pool = rng.permutation([first[document] for document in sorted(first)])[:3].tolist()
    documents = windows.document_W
    for i in range(len(windows)):
        others = [j for j in pool if documents[j] != documents[i]]
        got = fast["across_documents"][i], fast["chance_across_documents"][i]
        np.testing.assert_allclose(got, slow_contrast(unit, windows, i, others), err_msg=kind)


def test_candidates_across_documents_come_from_other_documents(tmp_path):
    """A prediction that only knows its document is right against all others, and a coin's throw in a batch."""
    rng = np.random.default_rng(0)
    topics = np.repeat(rng.standard_normal((20, 64)), 30, axis=0)
    vectors = (topics + 0.3 * rng.standard_normal(topics.shape)).astype(np.float32)
    windows = windows_of(tmp_path / "s", vectors, 30, normalised=False)
    unit = windows.context().mean(axis=1)
    found = contrastive_scores(unit, windows, batch=100)
    assert np.nanmean(found["across_documents"]) == 1
    assert np.nanmean(found["in_batch"]) < 0.6
    assert np.all(found["chance_across_documents"] == 1 / 20)
    assert np.isnan(found["in_batch"]).sum() == len(windows) % 100


def test_one_document_has_no_other_to_compete_with(tmp_path):
    windows = windows_of(tmp_path / "s", planted("random", 1)[:9], [9], normalised=False)
    found = contrastive_scores(windows.vectors(windows.target_row_W), windows)
    assert np.all(np.isnan(found["across_documents"]))
    assert np.all(found["in_batch"] == 1)
    unit = np.full((len(windows), DIM), np.nan, dtype=np.float32)
    assert np.all(contrastive_scores(unit, windows)["in_batch"] == 0)


def asleep(seconds: float) -> Callable[[torch.Tensor], Prediction]:
    def predict(context_BLD: torch.Tensor) -> Prediction:
        sizes.append(len(context_BLD))
        time.sleep(seconds)
        return Prediction.from_raw(context_BLD[:, -1])

    sizes: list[int] = []
    predict.sizes = sizes  # type: ignore[attr-defined]
    return predict


def test_latency_is_positive_ordered_and_warmed_up():
    context = np.random.default_rng(0).standard_normal((10, 5, DIM)).astype(np.float32)
    predictor = asleep(0.001)
    found = latency(predictor, context, calls=30)
    assert set(found) == {"batch_1", "batch_64", "windows_per_second"}
    for batch in ("batch_1", "batch_64"):
        assert 1 <= found[batch]["p50_ms"] <= found[batch]["p99_ms"]
        assert found[batch]["calls"] == 30
    assert found["windows_per_second"] > 0
    sizes = predictor.sizes  # type: ignore[attr-defined]
    assert (sizes.count(1), sizes.count(64), sizes.count(1024)) == (35, 35, 10)


def test_a_slow_predictor_is_asked_less_often_but_enough():
    context = np.ones((3, 2, DIM), dtype=np.float32)
    found = latency(asleep(0.002), context, batch_sizes=(1,), calls=1000, seconds=0.01)
    assert 20 <= found["batch_1"]["calls"] < 1000
    with pytest.raises(ValueError, match="needs a context"):
        latency(asleep(0), context[:0])
