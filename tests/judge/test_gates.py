"""Each gate's measure against a plain loop or a property that must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.judge_data import DIM, LENGTH, linear, moving_average, predictor, windows_of
from lvm_lab.data.windows import Windows
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.gates.ablations import CHANGES, derangements, foreign_partners, left_out_order, order_changes
from lvm_lab.judge.gates.coherence import coherence, coherence_bins
from lvm_lab.judge.gates.offsets import offset_cosines
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.gates.rollout import rollout_cosines
from lvm_lab.judge.predictions import Forward, predict
from lvm_lab.types import Prediction


def cos(a, b):
    a, b = np.float64(a), np.float64(b)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> Windows:
    """Documents of several lengths, among them one without any window that gate A or D could use."""
    lengths = [6, 9, 16, 7]
    vectors = (2 * moving_average(4, length=16)[: sum(lengths)]).astype(np.float16)
    return windows_of(tmp_path_factory.mktemp("store") / "s", vectors, lengths, normalised=False)


@pytest.fixture(scope="module")
def asked(windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    context = windows.context()
    return (context, *predict(linear(DIM), context, batch_size=4))


def test_predictions_come_back_in_order_whatever_the_batch(asked, windows):
    context, raw, unit = asked
    whole = linear(DIM)(torch.from_numpy(context))
    assert raw == pytest.approx(whole.raw_ND.numpy(), abs=1e-5)
    assert unit == pytest.approx(whole.unit_ND.numpy(), abs=1e-6)
    assert raw.dtype == unit.dtype == np.float32


def test_a_wrong_shape_is_a_bug_and_an_exception_is_not_hidden(asked):
    with pytest.raises(ValueError, match="shape"):
        predict(lambda x: Prediction.from_raw(x), asked[0])
    with pytest.raises(ZeroDivisionError):
        predict(lambda x: 1 // 0, asked[0])


def test_forward_counts_each_window_once():
    broken = np.zeros((3, 2, 4), dtype=np.float32)
    broken[1, 0, 2], broken[2, 0, :2] = np.inf, (np.inf, -np.inf)
    forward = Forward(lambda x: Prediction(x[:, 0], x[:, 1]))
    for _ in range(2):
        forward(broken, np.array([10, 11, 12]))
    assert forward.not_finite == {11, 12}


@pytest.mark.parametrize("shift", [0, 1])
def test_offsets(windows, asked, shift):
    found = offset_cosines(asked[2], windows, shift)
    eligible = 0
    for w, row in enumerate(windows.target_row_W):
        rows = [row - 1 + k + shift for k in range(-3, 4)]
        inside = rows[0] >= windows.start_W[w] and rows[-1] < windows.end_W[w]
        eligible += inside
        for k, r in zip(range(-3, 4), rows, strict=True):
            value = found[f"k{k:+d}"][w]
            assert (
                value == pytest.approx(cos(asked[2][w], windows.vectors_ND[r]), abs=1e-9) if inside else np.isnan(value)
            )
    assert 0 < eligible < len(windows)


def test_rollout(windows, asked):
    model = linear(DIM)
    for normalised in (False, True):
        some = Windows(**{**vars(windows), "normalised": normalised})
        found = rollout_cosines(Forward(model), *asked, some, 3)
        for w, row in enumerate(windows.target_row_W):
            if row + 2 >= windows.end_W[w]:
                assert np.isnan(found["rollout"][w])
                continue
            context, expected = asked[0][w], []
            for h in range(3):
                answer = model(torch.from_numpy(context[None]))
                expected.append(cos(answer.unit_ND[0].numpy(), windows.vectors_ND[row + h]))
                fed = answer.unit_ND if normalised else answer.raw_ND
                context = np.concatenate([context[1:], fed.numpy()])
            assert [found[f"h{h}"][w] for h in (1, 2, 3)] == pytest.approx(expected, abs=1e-6)
            assert found["rollout"][w] == pytest.approx(np.mean(expected), abs=1e-6)


def test_order_changes(windows, asked):
    model = linear(DIM)
    targets = windows.vectors(windows.target_row_W)
    base = np.array([cos(u, t) for u, t in zip(asked[2], targets, strict=True)])
    orders, partners = derangements(len(windows), 5, 3), foreign_partners(windows.document_W, 3)
    found = order_changes(Forward(model), asked[0], base, windows, orders, windows.rows(0)[partners])
    assert tuple(found) == CHANGES
    for w, context in enumerate(asked[0]):
        c = list(context)

        def change(vectors, w=w):
            unit = model(torch.from_numpy(np.stack(vectors)[None])).unit_ND[0].numpy()
            return cos(unit, targets[w]) - base[w]

        removed = [[*c[:i], *c[i + 1 :]] for i in range(5)]
        expected = {
            "shuffled": change([c[i] for i in orders[w]]),
            "reversed": change(c[::-1]),
            "left_out": np.mean([change([rest[0], *rest]) for rest in removed]),
            "repeated": change([c[4]] * 5),
            "foreign": change([*c[:4], asked[0][partners[w]][4]]),
        }
        assert {name: x[w] for name, x in found.items()} == pytest.approx(expected, abs=1e-6)


def test_an_order_blind_predictor_is_moved_by_no_order(windows, asked):
    blind = predictor(lambda x: x.amax(dim=1))
    _, unit = predict(blind, asked[0])
    base = np.einsum("bd,bd->b", normalise(unit), normalise(windows.vectors(windows.target_row_W)))
    found = order_changes(Forward(blind), asked[0], base, windows, derangements(len(windows), 5, 0), None)
    assert not found["shuffled"].any()
    assert not found["reversed"].any()
    assert np.all(found["left_out"] != 0)
    assert np.isnan(found["foreign"]).all()


@given(st.integers(2, 7), st.integers(0, 99))
def test_derangements_leave_nothing_in_place(length, seed):
    orders = derangements(50, length, seed)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(length), (50, 1)))
    assert not (orders == np.arange(length)).any()


def test_derangements_are_seeded_differ_between_windows_and_are_all_reached():
    orders = derangements(2000, 4, 1)
    assert np.array_equal(orders, derangements(2000, 4, 1))
    assert not np.array_equal(orders, derangements(2000, 4, 2))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 9
    assert counts.min() > 150


@given(st.integers(2, 9))
def test_left_out_keeps_length_and_order_and_pads_the_front(length):
    for i, order in enumerate(left_out_order(length)):
        assert len(order) == length
        assert i not in order
        assert order[0] == order[1]
        assert [*order[1:]] == [place for place in range(length) if place != i]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 99))
def test_foreign_partners_are_of_another_document(documents, seed):
    documents = np.array(documents)
    partners = foreign_partners(documents, seed)
    if len(set(documents.tolist())) == 1:
        assert partners is None
    else:
        assert not (documents[partners] == documents).any()


def test_foreign_partners_reach_every_other_window():
    documents = np.array([3, 3, 1, 1, 2])
    reached = {(w, int(p)) for seed in range(200) for w, p in enumerate(foreign_partners(documents, seed))}
    assert reached == {(w, p) for w in range(5) for p in range(5) if documents[w] != documents[p]}


def ranks(cosines, contents, target, context, *, tolerance=1e-6):
    rivals = [k for k in range(len(cosines)) if contents[k] != contents[target]]
    before = [k for k in rivals if cosines[k] >= cosines[target] - tolerance]
    return 1 + len(before), 1 + len(rivals), 1 + len(set(before) - context), 1 + len(set(rivals) - context)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(1, 4), st.booleans())
def test_ranks_against_brute_force(seed, lengths, context_length, zero):
    """Few directions in few dimensions, so that ties and exact duplicates of the target abound."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, size=(sum(lengths), 3)).astype(np.float16) + np.float16(0.5)
    ends = np.cumsum(lengths)
    places = [(e - n + i, d, e - n, e) for d, (n, e) in enumerate(zip(lengths, ends, strict=True)) for i in range(n)]
    places = [p for p in places if p[0] - p[2] >= context_length]
    rows, documents, starts, stops = np.array(places, dtype=np.int64).reshape(-1, 4).T
    windows = Windows(vectors, rows, documents, starts, stops, context_length)
    unit = np.zeros((len(rows), 3)) if zero else rng.integers(-1, 2, size=(len(rows), 3)) + 0.25
    found = retrieval_scores(unit.astype(np.float32), windows)
    for w, (row, _, start, end) in enumerate(places):
        if end - start < 6:
            assert all(np.isnan(column[w]) for column in found.values())
            continue
        cosines = [0.0 if zero else cos(unit[w], v) for v in vectors[start:end]]
        contents = [v.tobytes() for v in vectors[start:end]]
        seen = set(range(row - start - context_length, row - start))
        rank, count, unseen_rank, unseen_count = ranks(cosines, contents, row - start, seen)
        expected = {}
        for suffix, at, of in (("", rank, count), ("_unseen", unseen_rank, unseen_count)):
            alone = bool(suffix) and of == 1
            expected[f"mrr{suffix}"] = np.nan if alone else 1 / at
            expected[f"chance_mrr{suffix}"] = np.nan if alone else np.mean([1 / r for r in range(1, of + 1)])
            for k in range(1, 11):
                expected[f"r{k}{suffix}"] = np.nan if alone else float(at <= k)
                expected[f"chance_r{k}{suffix}"] = np.nan if alone else np.mean([r <= k for r in range(1, of + 1)])
        assert {name: column[w] for name, column in found.items()} == pytest.approx(expected, nan_ok=True)


def test_zero_predictions_rank_last_and_the_old_tool_calls_them_first(windows):
    nothing = np.zeros((len(windows), DIM), dtype=np.float32)
    lengths = windows.end_W - windows.start_W
    assert retrieval_scores(nothing, windows)["mrr"] == pytest.approx(1 / lengths)
    assert np.all(retrieval_scores(nothing, windows, pessimistic=False)["r1"] == 1)


def test_exact_duplicates_of_the_target_are_no_competitors(tmp_path):
    vectors = moving_average(1)
    vectors[[9, 12]] = vectors[5]
    windows = windows_of(tmp_path / "s", vectors)
    first = windows.select(np.array([0]))
    found = retrieval_scores(vectors[[5]], first)
    assert found["r1"] == 1
    assert found["chance_r1"] == pytest.approx(1 / (LENGTH - 2))
    vectors[9, 0] = np.nextafter(vectors[9, 0], np.float32(2))
    near = windows_of(tmp_path / "near", vectors).select(np.array([0]))
    assert retrieval_scores(vectors[[5]], near)["mrr"] == 0.5, "one bit away it competes, and ties rank last"


def test_blocks_of_candidates_change_nothing(windows, asked, monkeypatch):
    whole = retrieval_scores(asked[2], windows)
    monkeypatch.setattr("lvm_lab.judge.gates.retrieval.BLOCK", 3 * DIM)
    for name, column in retrieval_scores(asked[2], windows).items():
        assert np.array_equal(column, whole[name], equal_nan=True)


def test_coherence_and_its_bins(windows, asked):
    found = coherence(asked[0])
    expected = [np.mean([cos(c[i], c[i + 1]) for i in range(4)]) for c in asked[0]]
    assert found == pytest.approx(expected, abs=1e-9)
    edges = np.array([0.44, 0.45, 0.55, 0.56, np.nan])
    bins = coherence_bins(np.arange(5.0), edges)
    assert [np.flatnonzero(~np.isnan(bins[name])).tolist() for name in ("low", "normal", "high")] == [[0], [1, 2], [3]]
    assert np.nanmean(bins["share_normal"]) == 0.5
    assert np.isnan(coherence(asked[0][:, :1])).all()
