"""Each gate's measure against a plain loop or a property that must hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.judge_data import DIM, LENGTH, Leaky, linear, moving_average, predictor, preset, windows_of
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, write_store
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.judge.cosines import normalise
from lvm_lab.judge.five_cat import measure_part
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
        found = rollout_cosines(Forward(model), *asked, some, 3, longest=windows.context_length)
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


def brute_force(unit, row, rows, vectors, context_length, *, pessimistic):
    """What a plain loop over the different chunks of one document says of one window; rows: the document's."""
    contents = {vectors[r].tobytes(): r for r in rows}
    target = vectors[row].tobytes()
    read = {vectors[r].tobytes() for r in range(row - context_length, row)}
    rivals = [r for content, r in contents.items() if content != target]
    unseen = [r for r in rivals if vectors[r].tobytes() not in read]
    at_target = cos(unit, vectors[row]) if unit.any() else 0.0
    expected = {}
    for suffix, some in (("", rivals), ("_unseen", unseen)):
        cosines = [cos(unit, vectors[r]) if unit.any() else 0.0 for r in some]
        rank = 1 + sum(c >= at_target - 1e-6 if pessimistic else c > at_target + 1e-9 for c in cosines)
        few = len(unseen) + 1 < 6 if pessimistic else len(rows) < 6
        none = few or (bool(suffix) and not some)
        chances = range(1, len(some) + 2)
        expected[f"mrr{suffix}"] = np.nan if none else 1 / rank
        expected[f"chance_mrr{suffix}"] = np.nan if none else np.mean([1 / r for r in chances])
        for k in range(1, 11):
            expected[f"r{k}{suffix}"] = np.nan if none else float(rank <= k)
            expected[f"chance_r{k}{suffix}"] = np.nan if none else np.mean([r <= k for r in chances])
    return expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(2, 16), st.integers(0, 2)), min_size=1, max_size=5),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_ranks_against_brute_force(seed, stretches, context_length, zero, pessimistic, isolated):
    """Few directions in few dimensions, so that ties and equal chunks abound, within a stretch and across those of one
    document. stretches: length and document. isolated: windows of one chain each lie in the file with all their rows.
    """
    rng = np.random.default_rng(seed)
    chains = [rng.integers(-1, 2, size=(length, 3)).astype(np.float16) + np.float16(0.5) for length, _ in stretches]
    documents = [document for _, document in stretches]
    if isolated:
        size = context_length + 1
        cut = [(c[i : i + size], d) for c, d in zip(chains, documents, strict=True) for i in range(len(c) - size + 1)]
        chains, documents = [c for c, _ in cut], [d for _, d in cut]
    lengths = np.array([len(chain) for chain in chains], dtype=np.int64)
    ends = np.cumsum(lengths)
    all_S3 = np.stack([np.array(documents, dtype=np.int64), ends - lengths, ends], axis=1)
    places = [(row, d, s, e) for d, s, e in all_S3.tolist() for row in range(s + context_length, e)]
    rows, document_W, starts, stops = np.array(places, dtype=np.int64).reshape(-1, 4).T
    vectors = np.concatenate(chains) if chains else np.empty((0, 3), dtype=np.float16)
    windows = Windows(vectors, rows, document_W, starts, stops, context_length, isolated=isolated, stretches_S3=all_S3)
    unit = np.zeros((len(rows), 3)) if zero else rng.integers(-1, 2, size=(len(rows), 3)) + 0.25
    scores = retrieval_scores(unit.astype(np.float32), windows, pessimistic=pessimistic)
    for w, (row, document, _, _) in enumerate(places):
        of_document = [r for d, s, e in all_S3.tolist() if d == document for r in range(s, e)]
        expected = brute_force(unit[w], row, of_document, vectors, context_length, pessimistic=pessimistic)
        assert {name: column[w] for name, column in scores.items()} == pytest.approx(expected, nan_ok=True)


def chain_windows(path, documents, length, *, names):
    """Windows of five and a target cut from each document's chain, each with rows of its own: a sequence file's."""
    chains = moving_average(documents, length=length).reshape(documents, length, DIM)
    cut = np.concatenate([chain[i : i + 6] for chain in chains for i in range(length - 5)])
    count = documents * (length - 5)
    ids = [f"d{i // (length - 5)}" if names else f"w{i}" for i in range(count)]
    starts = 6 * np.arange(count)
    table = Documents(ids, ids, ["test"] * count, starts, np.full(count, 6))
    store = write_store(path, cut, table, EncoderContract(normalised=True), isolated=True)
    return index_windows(store, np.arange(count), 5)


def test_a_cheat_that_flees_its_context_does_not_pass_b_on_isolated_windows(tmp_path):
    """Of six chunks with five of them read, whatever is far from those five is the target."""
    flees = predictor(lambda x: -x.sum(dim=1))
    alone = measure_part(flees, chain_windows(tmp_path / "alone", 30, 16, names=False), preset()).halves["B"]
    assert (alone.state, alone.reason) == (None, "no window's document has 6 chunks besides its context")
    ided = chain_windows(tmp_path / "ided", 30, 16, names=True)
    half = measure_part(flees, ided, preset()).halves["B"]
    assert half.state is False
    assert half.numbers["mrr"].value < 0.5
    assert half.numbers["chance_r1_unseen"].value == pytest.approx(1 / (16 - 5)), "copies are one chunk"
    assert measure_part(Leaky(ided), ided, preset()).halves["B"].state is True


def test_a_stretch_is_ranked_among_the_chunks_of_its_whole_document(tmp_path):
    """A document of two stretches, one of them too short for a window."""
    vectors = moving_average(1, length=15)
    table = Documents(["d", "d"], ["d", "d"], ["test"] * 2, np.array([0, 11]), np.array([11, 4]))
    store = write_store(tmp_path / "s", vectors, table, EncoderContract(normalised=True))
    first = index_windows(store, np.arange(2), 5).select(np.array([0]))
    assert retrieval_scores(vectors[[5]], first)["chance_r1"] == pytest.approx(1 / 15)


def test_zero_predictions_rank_last_and_the_old_tool_calls_them_first(windows):
    nothing = np.zeros((len(windows), DIM), dtype=np.float32)
    lengths = windows.end_W - windows.start_W
    mrr = retrieval_scores(nothing, windows)["mrr"]
    enough = lengths >= 11
    assert 0 < enough.mean() < 1
    assert mrr[enough] == pytest.approx(1 / lengths[enough])
    assert np.isnan(mrr[~enough]).all()
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
