"""Windows that read fewer vectors than context_length are judged as they are: by true length, never padded.

Shape suffixes: B batch, L context length, D vector dim, W windows.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.judge_data import DIM, moving_average, predictor, preset, windows_of
from lvm_lab.data.windows import Windows, of_one_length
from lvm_lab.judge import baselines, options
from lvm_lab.judge.arrow import arrow_of_time
from lvm_lab.judge.baseline import Baseline, FitData
from lvm_lab.judge.baselines.exponential import best_decay
from lvm_lab.judge.baselines.linear_metric import MetricSettings, fit_linear_metric
from lvm_lab.judge.baselines.ridge import fit_ridge
from lvm_lab.judge.data_gate import data_gate
from lvm_lab.judge.five_cat import measure, measure_part
from lvm_lab.judge.gates.ablations import WHOLE
from lvm_lab.judge.gates.retrieval import retrieval_scores
from lvm_lab.judge.gates.rollout import rollout_cosines
from lvm_lab.judge.metrics import part_metrics
from lvm_lab.judge.part_report import Measures, report_part
from lvm_lab.judge.predictions import Forward
from lvm_lab.judge.store_retrieval import store_scores
from lvm_lab.types import Prediction, Stats

LENGTHS = [16, 3, 12, 8, 5, 20] * 4
STATS = Stats(torch.zeros(DIM), torch.full((DIM,), 0.5))


class Watching:
    """The last vector less half of the first; remembers how many contexts of each length it was called on."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def __call__(self, context_BLD: torch.Tensor) -> Prediction:
        assert bool(context_BLD.any(dim=-1).all()), "no place is empty"
        self.asked[context_BLD.shape[1]] += len(context_BLD)
        return Prediction.from_raw(context_BLD[:, -1] - 0.5 * context_BLD[:, 0])


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Windows:
    """Contexts of 2 to 12 vectors."""
    vectors = moving_average(1, length=sum(LENGTHS))
    home = tmp_path_factory.mktemp("store")
    return windows_of(home / "s", vectors, LENGTHS, context_length=12, min_context=2)


def eights(path: Path, seed: int = 0, **options: int) -> Windows:
    return windows_of(path, moving_average(25, seed, 8), 8, **{"context_length": 64, "min_context": 2, **options})


def test_documents_of_eight_chunks_are_judged_at_a_context_length_of_64(tmp_path: Path) -> None:
    val, ood = eights(tmp_path / "val"), eights(tmp_path / "ood", seed=1)
    judged = measure(Watching(), val, ood, preset())
    halves = judged.val.halves
    # Targets 2 to 7: offsets -3 to +3 are there for 4 and 5, five true next vectors for 2 and 3, and six chunks that
    # were not read for 2.
    assert [halves[gate].share for gate in "ABCD"] == pytest.approx([2 / 6, 1 / 6, 1, 2 / 6])
    assert halves["C"].numbers["left_out"].windows == len(val) == 25 * 6
    assert {name: halves["C"].numbers[name].windows for name in WHOLE} == dict.fromkeys(WHOLE, 25)
    assert all(half.numbers for half in halves.values())
    old = measure(Watching(), val, ood, preset("lnsp_compat"))
    assert {half.state for half in old.val.halves.values()} == {None}, "none of its windows is whole"


def test_a_window_needs_at_most_fifteen_forwards(windows: Windows) -> None:
    whole = windows.select(windows.has(1, 5))
    watching = Watching()
    measure_part(watching, whole, preset())
    forwards = {2: 11, 3: 12, 4: 13, 5: 14} | dict.fromkeys(range(6, 13), 15)
    lengths = Counter(whole.length_W.tolist())
    assert set(lengths) == set(forwards)
    # Of these the last four are of contexts to which 1 to 4 predictions were appended, up to context_length.
    expected = Counter({length: count * (forwards[length] - 4) for length, count in lengths.items()})
    for length, count in lengths.items():
        expected.update({length: 0})
        for fed in range(1, 5):
            expected[min(length + fed, 12)] += count
    assert watching.asked == expected


def test_fed_back_predictions_are_appended_to_a_short_context_until_it_is_full(tmp_path: Path) -> None:
    """The mean of all that is read: of three vectors, then of these and one prediction, and so on."""
    windows = windows_of(
        tmp_path / "s", moving_average(3, length=12), 12, context_length=5, min_context=3, normalised=False
    )
    first = windows.select(windows.target_row_W - windows.start_W == 3)
    mean = predictor(lambda x: x.mean(1))
    forward = Forward(mean)
    context_BLD = first.vectors(first.target_row_W[:, None] + np.arange(-3, 0))
    raw_BD, unit_BD = forward(context_BLD, first.target_row_W)
    found = rollout_cosines(forward, context_BLD, raw_BD, unit_BD, first, 5, longest=5)
    for w, row in enumerate(first.target_row_W.tolist()):
        read = list(context_BLD[w])
        for h in range(5):
            predicted_D = np.mean(read[-5:], axis=0)
            truth_D = np.asarray(first.vectors_ND[row + h])
            lengths = np.linalg.norm(predicted_D) * np.linalg.norm(truth_D)
            assert found[f"h{h + 1}"][w] == pytest.approx(predicted_D @ truth_D / lengths, abs=1e-6)
            read.append(predicted_D)


def test_whole_contexts_are_broken_in_every_second_window_each_and_judged_by_nothing(windows: Windows) -> None:
    half = measure_part(linear_of_any_length(), windows, preset()).halves["C"]
    long = int((windows.length_W > 5).sum())
    assert sum(half.numbers[name].windows for name in WHOLE) == long
    assert half.numbers["shuffled"].windows == len(windows)
    assert not set(WHOLE) & set(half.checks)
    short = windows.select(windows.length_W <= 5)
    assert not set(WHOLE) & set(measure_part(Watching(), of_one_length(short)[0], preset()).halves["C"].numbers)


def linear_of_any_length():
    return predictor(lambda x: (x * torch.linspace(-0.5, 1, x.shape[1])[:, None]).sum(1))


def test_every_window_has_the_numbers_that_it_has_among_its_like(windows: Windows) -> None:
    """Neighbours of other lengths change nothing, and numbers stand at their windows."""
    model = linear_of_any_length()
    report = report_part(model, windows, STATS, preset(), "val", Measures(retrieval=True))
    paired = report.retrieval.paired
    numbers = part_metrics(model, windows, STATS)
    assert numbers["cos"]["value"] == pytest.approx(paired["cos"].mean())
    for positions, some in windows.by_length():
        unit_BD = model(torch.from_numpy(some.context())).unit_ND.numpy()
        alone = retrieval_scores(unit_BD, some)["mrr_unseen"]
        np.testing.assert_allclose(paired["mrr_unseen"][positions], alone, atol=1e-9)
        np.testing.assert_allclose(paired["store_mrr_unseen"][positions], store_scores(unit_BD, some)["mrr_unseen"])
        with_targets = np.einsum("bd,bd->b", unit_BD, some.vectors(some.target_row_W))
        np.testing.assert_allclose(paired["cos"][positions], with_targets, atol=1e-6)


def test_what_a_short_context_did_not_read_is_unseen(windows: Windows) -> None:
    unit_WD = np.zeros((len(windows), DIM), dtype=np.float32)
    chance = store_scores(unit_WD, windows)["chance_r1_unseen"]
    np.testing.assert_allclose(chance, 1 / (sum(LENGTHS) - windows.length_W))


def test_the_data_gate_and_the_arrow_look_at_the_last_five_vectors(tmp_path: Path) -> None:
    vectors = [moving_average(25, seed, 14)[:, :16] for seed in (0, 1)]
    long = [windows_of(tmp_path / f"l{i}", v, 14, context_length=64, min_context=2) for i, v in enumerate(vectors)]
    five = [windows_of(tmp_path / f"f{i}", v, 14) for i, v in enumerate(vectors)]
    assert data_gate(long[0]) == data_gate(five[0])
    assert arrow_of_time(*long).to_dict() == arrow_of_time(*five).to_dict()
    few = of_one_length(*(w.select(w.length_W < 4) for w in long))
    assert [w.context_length for w in few] == [3, 3]


@pytest.mark.parametrize("name", [name for name in baselines.TITLES if name != "oracle"])
def test_every_baseline_is_fitted_on_and_called_with_contexts_of_any_length(name: str, tmp_path: Path) -> None:
    dim, stats = 16, Stats(torch.zeros(16), torch.ones(16))
    train, val = (
        windows_of(tmp_path / str(seed), moving_average(25, seed, 8)[:, :dim], 8, context_length=64, min_context=2)
        for seed in (0, 1)
    )
    baseline = options.by_stem(baselines.__name__, name, Baseline).fit(FitData(train, val, stats))
    for length in (1, 5, 64):
        raw_BD = baseline(torch.randn(3, length, dim, generator=torch.Generator().manual_seed(length))).raw_ND
        assert raw_BD.shape == (3, dim)
        assert bool(raw_BD.isfinite().all())
    assert np.isfinite(part_metrics(baseline, val, stats)["cos"]["value"])


def test_ridge_counts_vectors_before_the_first_as_zeros(tmp_path: Path) -> None:
    train = windows_of(tmp_path / "s", moving_average(6)[:, :8], context_length=12, min_context=2)
    ridge = fit_ridge(train, train, penalties=(0.1,))
    rows = [
        [r if r >= s else -1 for r in range(t - 5, t)] for t, s in zip(train.target_row_W, train.start_W, strict=True)
    ]
    padded_ND = np.concatenate([np.asarray(train.vectors_ND), np.zeros((1, 8), np.float32)]).astype(np.float64)
    x, y = padded_ND[np.array(rows)].reshape(len(train), -1), train.vectors(train.target_row_W)
    centred = x - x.mean(0)
    penalty = 0.1 * np.square(centred).sum() / x.shape[1]
    weight = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean(0)))
    assert ridge.weight_FD.numpy() == pytest.approx(weight, abs=1e-5)
    for positions, some in train.by_length():
        expected = x[positions] @ weight + ridge.bias_D.numpy()
        np.testing.assert_allclose(ridge(torch.from_numpy(some.context())).raw_ND.numpy(), expected, atol=1e-5)


def test_the_linear_metric_learns_nothing_of_places_that_no_window_reads(tmp_path: Path) -> None:
    """Contexts have seven vectors at most: further back there are zeros, and no gradient."""
    windows = windows_of(tmp_path / "s", moving_average(12, length=8)[:, :16], 8, context_length=12, min_context=2)
    settings, stats = MetricSettings(epochs=1, batch_size=100, lr=1e-2), Stats(torch.zeros(16), torch.ones(16))
    weight_T = fit_linear_metric(windows, windows, stats, settings).backbone.metric.weight_T
    assert bool((weight_T[1:7] != 0).all())
    assert not weight_T[7:].any()


def test_the_exponential_context_weighs_the_vectors_that_are_there(windows: Windows) -> None:
    decays = (0.0, 0.5, 1.0)
    means = []
    for decay in decays:
        cosines = []
        for _, some in windows.by_length():
            weight_L = decay ** np.arange(some.context_length - 1, -1, -1, dtype=np.float64)
            mixed_BD = np.einsum("l,bld->bd", weight_L, some.context())
            mixed_BD /= np.linalg.norm(mixed_BD, axis=1, keepdims=True)
            cosines.append(np.einsum("bd,bd->b", mixed_BD, some.vectors(some.target_row_W)))
        means.append(np.concatenate(cosines).mean())
    assert best_decay(windows, decays=decays) == decays[int(np.argmax(means))]
