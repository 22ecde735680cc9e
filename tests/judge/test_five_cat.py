"""5CAT as a whole: who passes what, what cannot be measured, and what the result says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.judge_data import CONF, DIM, Leaky, linear, moving_average, predictor, preset, windows_of
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.errors import UserError
from lvm_lab.judge import gates, lnsp_compat
from lvm_lab.judge.baselines.copy_last import CopyLast
from lvm_lab.judge.five_cat import measure, measure_part
from lvm_lab.types import Prediction

STANDARD, COMPAT = preset(), preset("lnsp_compat")
NEEDED = {
    "A": ("cos", "margin"),
    "B": ("r1", "r5", "mrr"),
    "C": ("shuffled", "reversed", "left_out", "repeated", "foreign"),
    "D": ("rollout",),
}
NOTHING = predictor(lambda x: torch.zeros_like(x[:, -1]))
CONSTANT = predictor(lambda x: torch.ones_like(x[:, -1]))


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Windows, Windows]:
    home = tmp_path_factory.mktemp("stores")
    return windows_of(home / "val", moving_average(30)), windows_of(home / "ood", moving_average(25, seed=1))


def states(judged) -> dict[str, bool | None]:
    return {letter: gate.state for letter, gate in judged.gates.items()}


def test_who_knows_what_comes_next_passes_everything(parts):
    judged = measure(Leaky(*parts), *parts, STANDARD)
    assert states(judged) == dict.fromkeys("ABCDE", True)
    assert (judged.passed, judged.verdict, judged.alarms) == (5, "pass", [])
    assert judged.val.best_k == judged.ood.best_k == 1
    assert judged.val.values()["A/cos"] == pytest.approx(1)
    assert judged.val.values()["D/rollout"] == pytest.approx(1)
    assert judged.val.values()["A/margin"] == pytest.approx(0.5, abs=0.06)


def test_the_old_tool_fails_it_and_passes_who_skips_a_vector(parts):
    knows, skips = Leaky(*parts), Leaky(*parts, offset=2)
    assert measure(knows, *parts, COMPAT).gates["A"].state is False
    assert measure(knows, *parts, COMPAT).val.margin == pytest.approx(-0.5, abs=0.06)
    assert measure(skips, *parts, COMPAT).gates["A"].state is True
    assert measure(skips, *parts, STANDARD).gates["A"].state is False
    assert measure(skips, *parts, STANDARD).alarms == []


def test_copy_last_passes_c_only(parts):
    judged = measure(CopyLast(), *parts, STANDARD)
    halves = {gate: half.state for gate, half in judged.val.halves.items()}
    assert halves == {"A": False, "B": False, "C": True, "D": False, "E": None}
    assert judged.val.values()["B/r1"] == 0
    assert [(a.name, a.part, a.best_k) for a in judged.alarms] == [("copying", "val", 0), ("copying", "ood", 0)]
    assert all("data gate" in a.check and "swapped" in a.check and "reversed" in a.check for a in judged.alarms)


def test_a_memory_of_older_vectors_is_backward_bias(parts):
    part = measure_part(predictor(lambda x: x[:, -3]), parts[0], STANDARD)
    assert part.best_k == -2
    assert [a.name for a in part.alarms] == ["backward bias"]
    assert [a.name for a in measure_part(CopyLast(), parts[0], COMPAT).alarms] == ["copying"]


def test_constants_pass_e_and_nothing_else(parts):
    judged = measure(CONSTANT, *parts, STANDARD)
    assert states(judged) == {"A": False, "B": False, "C": False, "D": False, "E": True}
    assert judged.verdict == "fail"


def test_zero_predictions_rank_last_and_raise_no_alarm(parts):
    judged = measure(NOTHING, *parts, STANDARD)
    assert judged.val.values()["B/mrr"] == pytest.approx(1 / 16)
    assert judged.alarms == []
    assert measure_part(NOTHING, parts[0], COMPAT).values()["B/r1"] == 1, "the old tool knows no ties"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("tool", [STANDARD, COMPAT], ids=lambda p: p.tool)
def test_one_prediction_that_is_not_finite_fails_every_gate(parts, bad, tool):
    knows, marked = Leaky(*parts), parts[0].context(slice(30, 31)).tobytes()

    def sometimes(context):
        answer = knows(context)
        for i, c in enumerate(context.numpy()):
            if c.tobytes() == marked:
                answer.raw_ND[i, 0] = bad
        return answer

    judged = measure(sometimes, *parts, tool)
    assert states(judged) == dict.fromkeys("ABCDE", False)
    assert (judged.passed, judged.verdict, judged.ood.not_finite) == (0, "fail", 0)
    assert 1 <= judged.val.not_finite <= 5, "the window itself and those whose rollout comes by"
    alone = measure(sometimes, parts[0], None, tool)
    assert states(alone) == dict.fromkeys("ABCDE", False)
    assert alone.verdict == "fail"
    json.dumps(judged.to_dict(), allow_nan=False)


def test_no_ood_leaves_every_gate_null_unless_val_fails_it(parts):
    judged = measure(Leaky(*parts), parts[0], None, STANDARD)
    assert states(judged) == dict.fromkeys("ABCDE")
    assert (judged.passed, judged.verdict) == (0, "undecided")
    assert all("no OOD set" in gate.reason for gate in judged.gates.values())
    assert states(measure(CopyLast(), parts[0], None, STANDARD)) == {
        "A": False,
        "B": False,
        "C": None,
        "D": False,
        "E": None,
    }


def test_isolated_windows_have_no_sweep_and_no_rollout(tmp_path, parts):
    vectors = moving_average(40, length=6)
    alone = windows_of(tmp_path / "s", vectors, 6, isolated=True)
    judged = measure(Leaky(alone, parts[1]), alone, parts[1], STANDARD)
    assert states(judged) == {"A": None, "B": None, "C": True, "D": None, "E": True}
    assert "besides its context" in judged.gates["B"].reason
    assert "isolated windows" in judged.gates["A"].reason
    assert judged.val.best_k is None
    assert judged.verdict == "undecided"
    marked = replace(parts[0], isolated=True)
    for tool in (STANDARD, COMPAT):
        halves = measure_part(Leaky(marked), marked, tool).halves
        assert (halves["A"].state, halves["D"].state) == (None, None)


def test_short_documents_have_no_eligible_window(tmp_path):
    short = windows_of(tmp_path / "s", moving_average(25, length=7), 7)
    halves = measure_part(linear(DIM), short, STANDARD).halves
    assert (halves["A"].state, halves["D"].state) == (None, None)
    assert "seven neighbours" in halves["A"].reason
    assert (halves["B"].state, halves["C"].share) == (None, 1)


def test_the_share_of_eligible_windows(parts):
    halves = measure_part(linear(DIM), parts[0], STANDARD).halves
    assert [halves[g].share for g in "ABCD"] == pytest.approx([9 / 11, 1, 1, 7 / 11])
    assert halves["A"].windows == 270
    assert halves["A"].documents == 30


def test_a_single_document_has_no_foreign_vector_no_interval_and_no_verdict(tmp_path):
    one = windows_of(tmp_path / "s", moving_average(1, length=60), 60)
    judged = measure(Leaky(one), one, one, STANDARD)
    assert states(judged) == {"A": True, "B": True, "C": None, "D": True, "E": None}
    assert "only one document" in judged.gates["C"].reason
    assert "1 documents" in judged.gates["E"].reason
    assert judged.val.numbers()["A/cos"].to_dict()["interval"] is None
    assert judged.val.halves["A"].checks["cos"].undecided
    assert judged.verdict == "undecided"
    assert judged.reason == "val has 1 documents and ood has 1 documents; 20 are needed"
    assert states(measure(Leaky(one), one, one, preset("strict")))["A"] is False


def test_contexts_of_one_vector_have_no_order(tmp_path):
    one = windows_of(tmp_path / "s", moving_average(20), context_length=1)
    half = measure_part(Leaky(one), one, STANDARD).halves["C"]
    assert (half.state, half.reason) == (None, "a context of one vector has no order")
    assert half.numbers["repeated"].value == 0


def test_the_normal_bin_needs_thirty_windows_of_ten_documents(parts):
    few = parts[0].select(parts[0].document_W < 9)
    assert "of 9 documents" in measure(CONSTANT, few, parts[1], STANDARD).gates["E"].reason
    judged = measure(CONSTANT, *parts, STANDARD, at_most=25)
    assert judged.gates["E"].state is None


def test_gate_e_compares_the_normal_bins(parts):
    judged = measure(Leaky(parts[0]), *parts, STANDARD)
    gate = judged.gates["E"]
    assert (gate.state, gate.numbers["difference"].value) == (False, pytest.approx(1))
    assert gate.to_dict()["difference"]["threshold"] == 0.05
    turned = measure(Leaky(parts[1]), *parts, STANDARD).gates["E"]
    assert (turned.state, turned.numbers["difference"].value) == (False, pytest.approx(-1))


def test_the_two_parts_are_resampled_independently(parts):
    """The same windows on both sides: paired resamples would give the difference an interval of no width."""
    apart = measure(linear(DIM), parts[0], parts[0], STANDARD).gates["E"].numbers["difference"]
    assert apart.value == 0
    assert apart.low < -0.005 < 0.005 < apart.high


def test_the_forwards_a_window_costs(parts):
    asked = []
    model = linear(DIM)

    def counting(context):
        asked.append(len(context))
        return model(context)

    whole = parts[0].select(parts[0].has(1, 5))
    measure_part(counting, whole, STANDARD)
    assert sum(asked) == 14 * len(whole)


def test_slices_change_nothing(parts, monkeypatch):
    whole = measure_part(linear(DIM), parts[0], STANDARD).values()
    monkeypatch.setattr("lvm_lab.judge.five_cat.SLICE", 37)
    assert measure_part(linear(DIM), parts[0], STANDARD).values() == pytest.approx(whole, abs=1e-6)


def test_strict_wants_every_interval_clear(parts):
    values = measure_part(linear(DIM), parts[0], STANDARD).numbers()["A/cos"]
    low = {v: {"cos": values.value - 1e-4, "margin": -2.0} for v in ("val", "ood")}
    half = measure_part(linear(DIM), parts[0], preset(thresholds={"a": low})).halves["A"]
    assert (half.state, half.checks["cos"].undecided) == (True, True)
    strict = measure_part(linear(DIM), parts[0], preset("strict", thresholds={"a": low})).halves["A"]
    assert (strict.state, strict.reason) == (False, "an interval straddles its threshold")


def test_ood_has_its_own_thresholds(parts):
    own = preset(thresholds={"d": {"val": {"rollout": 1.5}, "ood": {"rollout": -1.5}}})
    model = linear(DIM)
    assert measure_part(model, parts[0], own, "val").halves["D"].state is False
    assert measure_part(model, parts[0], own, "ood").halves["D"].state is True
    assert measure_part(model, parts[0], own, "test").halves["D"].state is False


@pytest.mark.parametrize("part", ["val", "ood"])
@pytest.mark.parametrize(("gate", "name"), [(gate, name) for gate, names in NEEDED.items() for name in names])
def test_each_number_can_fail_its_gate_alone(parts, gate, name, part):
    """By heart passes A to D, so that the one threshold which nothing reaches is what decides."""
    out_of_reach = -3.0 if gate == "C" else 1.5
    own = preset(resamples=2, thresholds={gate.lower(): {part: {name: out_of_reach}}})
    half = measure_part(Leaky(parts[0]), parts[0], own, part).halves[gate]
    assert (half.state, [n for n, check in half.checks.items() if not check.passed]) == (False, [name])
    assert name in half.reason


def test_the_sample_is_even_seeded_and_at_most_so_many(tmp_path):
    lengths = [405, 25, 15, 15]
    vectors = moving_average(1, length=sum(lengths))
    windows = windows_of(tmp_path / "s", vectors, lengths)
    sample = sample_evenly(windows, 60, 0)
    assert np.bincount(sample.document_W).tolist() == [20, 20, 10, 10]
    part = measure_part(CopyLast(), windows, STANDARD, at_most=60)
    assert np.array_equal(part.target_row_W, sample.target_row_W)
    other = measure_part(CopyLast(), windows, preset(seed=1), at_most=60)
    assert not np.array_equal(other.target_row_W, part.target_row_W)
    assert measure_part(CopyLast(), windows, preset("smoke")).windows == 100


def test_equal_runs_give_equal_results(parts):
    first, second = (json.dumps(measure(linear(DIM), *parts, STANDARD).to_dict()) for _ in range(2))
    assert first == second


def test_the_result_is_plain_json(parts):
    judged = measure(linear(DIM), *parts, STANDARD)
    verdict, val, ood = (json.loads(json.dumps(x.to_dict(), allow_nan=False)) for x in (judged, judged.val, judged.ood))
    assert {"passed", "of", "verdict", "gates", "alarms", "preset"} <= verdict.keys()
    assert (verdict["of"], val["of"]) == (5, 4)
    # Halves stand once, with their parts.
    assert set(verdict["gates"]["A"]) == {"name", "state", "reason"}
    cos = val["halves"]["A"]["numbers"]["cos"]
    assert cos["interval"][0] <= cos["value"] <= cos["interval"][1]
    assert (cos["threshold"], cos["windows"], cos["documents"]) == (0.5, 270, 30)
    assert ood["halves"]["B"]["numbers"]["chance_r1"]["value"] == pytest.approx(1 / 16)


def test_training_ranks_by_halves_then_margin(parts):
    ranked = [measure_part(p, parts[0], STANDARD).rank for p in (Leaky(parts[0]), CopyLast(), CONSTANT)]
    assert ranked == sorted(ranked, reverse=True)
    assert ranked[0][0] == 4


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 50))
def test_the_judge_is_deaf_to_scale_and_rotation(scale, seed):
    """Cosines know no length and no basis: a rotated, rescaled world judged by a predictor of its own is the same."""
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0].astype(np.float32)
    vectors = moving_average(4)
    places = np.concatenate([np.arange(16 * d + 5, 16 * d + 16) for d in range(4)])
    starts = places // 16 * 16

    def judged(vectors, function):
        windows = Windows(vectors, places, places // 16, starts, starts + 16, 5)
        return measure_part(predictor(function), windows, STANDARD).values()

    plain = judged(vectors, lambda x: x[:, -1] - 0.5 * x[:, 0])
    turned = judged((vectors @ rotation) * np.float32(scale), lambda x: x[:, -1] - 0.5 * x[:, 0])
    assert turned == pytest.approx(plain, abs=2e-5)
    assert turned["A/margin"] == pytest.approx(
        turned["A/cos"] - max(turned[f"A/k{k:+d}"] for k in range(-3, 4) if k != 1)
    )


def test_no_windows_at_all(parts):
    empty = parts[0].select(np.array([], dtype=np.int64))
    for tool in (STANDARD, COMPAT):
        judged = measure(CONSTANT, empty, parts[1], tool)
        assert judged.gates["B"].state is False, "OOD still fails it"
        assert {half.state for half in judged.val.halves.values()} == {None}


def test_the_old_tool_takes_each_tests_first_windows(parts):
    seen = measure_part(linear(DIM), parts[0], COMPAT, at_most=20)
    halves = seen.halves
    assert [halves[g].windows for g in "ABCDE"] == [20] * 5
    # Documents give 7 of 11 windows to A, 6 to D, 11 to B and C: 20 windows reach so far into the file.
    assert [halves[g].documents for g in "ABCD"] == [3, 2, 2, 4]


def test_the_old_tools_ways_with_the_context():
    orders = lnsp_compat.old_orders(400, 5, 0)
    left_out = [order[0].tolist() for order in orders["left_out"]]
    assert left_out[0] == [1, 2, 3, 4, 4]
    assert left_out[2] == [0, 1, 3, 4, 4]
    assert left_out[4] == [0, 1, 2, 3, 4]
    assert orders["foreign"][0][0].tolist() == [0, 1, 2, 3, 0]
    assert orders["repeated"][0][0].tolist() == [4] * 5
    assert any(order.tolist() == [0, 1, 2, 3, 4] for order in orders["shuffled"][0])


def test_the_old_tools_rollout_is_one_late(parts):
    late = measure_part(Leaky(parts[0], offset=2), parts[0], COMPAT, at_most=50)
    assert late.values()["D/h1"] == pytest.approx(1)
    assert measure_part(Leaky(parts[0]), parts[0], COMPAT, at_most=50).values()["D/rollout"] == pytest.approx(
        0.5, abs=0.05
    )


def test_the_old_tool_drops_coherent_windows(tmp_path):
    vectors = moving_average(20)
    vectors[: 16 * 10] = np.float32(1 / 16)
    half = measure_part(linear(DIM), windows_of(tmp_path / "s", vectors), COMPAT, at_most=110).halves["E"]
    assert half.numbers["high"].windows == 0
    assert half.documents == 10


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_every_preset_is_whole_and_opens_with_its_command(name):
    found = preset(name)
    assert found.name == name
    assert (CONF / f"{name}.yaml").read_text().startswith(f"# lvm-lab train 5cat={name}\n")


def test_the_presets_say_what_the_design_says():
    production, strict = preset("production"), preset("strict")
    t = production.thresholds
    margins = [t["a"][part]["margin"] for part in ("val", "ood")]
    assert (production.required, margins, t["d"]["val"]["rollout"]) == (3, [0.10, 0.08], 0.50)
    assert t["a"]["val"]["cos"] == STANDARD.thresholds["a"]["val"]["cos"] == 0.50
    assert strict.every_interval_clear
    assert strict.thresholds == STANDARD.thresholds == COMPAT.thresholds
    assert (preset("off").every_n_epochs, preset("off").eval_windows) == (0, 0)


def test_mistakes_in_a_preset_are_told():
    with pytest.raises(UserError, match="every_epoch is no setting"):
        preset(every_epoch=3)
    with pytest.raises(UserError, match="thresholds"):
        gates.check(preset(thresholds={"a": {"val": {"cosine": 0.5}}}))
    with pytest.raises(UserError, match="required"):
        preset(required=6)


def test_predictions_need_not_be_normalised_by_the_predictor(parts):
    model = linear(DIM)
    loose = measure_part(lambda x: Prediction(model(x).raw_ND, 5 * model(x).unit_ND), parts[0], STANDARD).values()
    tight = measure_part(model, parts[0], STANDARD).values()
    assert {k: v for k, v in loose.items() if k[0] in "ABCE"} == pytest.approx(
        {k: v for k, v in tight.items() if k[0] in "ABCE"}, abs=1e-6
    )
