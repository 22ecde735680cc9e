"""The arrow of time tells planted documents from reversed ones, and is silent where there is nothing to tell."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from helpers.commands import TINY, Outcome, call, only_run
from helpers.judge_data import windows_of
from lvm_lab import check_data
from lvm_lab.config.data import DataSettings
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.sources.planted import PlantedWorld
from lvm_lab.data.windows import Windows
from lvm_lab.judge.arrow import DIRECTIONS, arrow_of_time, turned
from lvm_lab.judge.baselines.ridge import fit_ridge
from lvm_lab.judge.cosines import cosines
from lvm_lab.judge.data_gate import BACKWARDS, data_gate, examine

WORLD = PlantedWorld(dim=128, documents=120, ood_documents=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("worlds")


def parts_of(world: PlantedWorld, home: Path) -> Parts:
    settings = DataSettings()
    return cut_parts(world.open(home, settings), settings, home, every_position=False)


def series(path: Path, step, documents: int = 60, length: int = 24, dim: int = 4, seed: int = 0) -> Windows:
    """Documents of x[t] = step(x[t - 1], noise), begun so long before their first row that they are stationary."""
    rng = np.random.default_rng(seed)
    x = np.zeros((documents, 60 + length, dim))
    for t in range(1, x.shape[1]):
        x[:, t] = step(x[:, t - 1], rng.standard_normal((documents, dim)))
    kept = np.ascontiguousarray(x[:, 60:], dtype=np.float32).reshape(-1, dim)
    return windows_of(path, kept, length, normalised=False)


@pytest.mark.slow
def test_the_arrow_tells_a_reversed_training_part_and_the_curve_does_not(home):
    forward, backward = (parts_of(replace(WORLD, variant=v), home) for v in ("forward", "reversed"))
    arrows = [arrow_of_time(parts.train, parts.val) for parts in (forward, backward)]
    assert [arrow.verdict for arrow in arrows] == ["forwards", "backwards"]
    for arrow, sign in zip(arrows, (1, -1), strict=True):
        for name in ("cos_difference", "mrr_difference"):
            assert sign * arrow.numbers[name].value > 0.3
    gates = [data_gate(parts.train) for parts in (forward, backward)]
    assert [gate["failed"] for gate in gates] == [[], []]
    assert gates[1]["curve"] == pytest.approx(gates[0]["curve"], abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["no_signal", "shuffled"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_order_it_is_undecided(home, variant, seed):
    parts = parts_of(replace(WORLD, variant=variant, seed=seed), home)
    arrow = arrow_of_time(parts.train, parts.val, seed=seed)
    assert (arrow.verdict, arrow.easier) == ("undecided", "undecided")


def test_the_training_parts_draw_widens_the_interval(home):
    """On noise the held-out documents alone would make the difference of two fits look sure."""
    parts = parts_of(replace(WORLD, variant="shuffled"), home)
    wide = arrow_of_time(parts.train, parts.val).numbers["cos_difference"]
    held_out = np.std(wide.samples_R)
    assert wide.high - wide.low > 2 * 2 * 1.96 * held_out


def test_a_process_that_looks_the_same_both_ways_is_undecided(tmp_path):
    decay = np.array([0.95, 0.8, 0.5, 0.2])
    step = lambda x, e: decay * x + e  # noqa: E731
    train, val = series(tmp_path / "t", step), series(tmp_path / "v", step, seed=1)
    arrow = arrow_of_time(train, val)
    assert arrow.numbers["cos_forwards"].value > 0.5
    assert (arrow.verdict, arrow.easier) == ("undecided", "undecided")


def test_a_turning_process_has_an_arrow_but_is_as_easy_from_either_side(tmp_path):
    """The reason for two ridges on the same windows: each read its own way would score alike."""
    turn = 0.95 * np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0.6, 0.8], [0, 0, -0.8, 0.6]])
    step = lambda x, e: x @ turn + 0.3 * e  # noqa: E731
    train, val = series(tmp_path / "t", step), series(tmp_path / "v", step, seed=1)
    arrow = arrow_of_time(train, val)
    assert (arrow.verdict, arrow.easier) == ("forwards", "undecided")
    reverse = arrow_of_time(train, whole_reversed(val, tmp_path / "r"))
    assert reverse.verdict == "backwards"
    assert reverse.numbers["cos_backwards"].value == pytest.approx(arrow.numbers["cos_forwards"].value, abs=0.03)


def whole_reversed(windows: Windows, path: Path, length: int = 24) -> Windows:
    x = windows.vectors_ND.reshape(-1, length, windows.dim)[:, ::-1]
    return windows_of(path, np.ascontiguousarray(x).reshape(-1, windows.dim), length, normalised=False)


def test_a_corpus_turned_round_as_a_whole_agrees_with_itself(home, tmp_path):
    """What no test of one corpus can see; a held-out part of known direction shows it."""
    parts = parts_of(WORLD, home)
    length = WORLD.length

    def documents(windows: Windows, name: str, step: int) -> Windows:
        starts = np.unique(windows.start_W)
        x = np.concatenate([np.asarray(windows.vectors_ND[s : s + length])[::step] for s in starts])
        return windows_of(tmp_path / name, x, length)

    train, val = documents(parts.train, "t", -1), documents(parts.val, "v", -1)
    assert arrow_of_time(train, val).verdict == "forwards"
    assert arrow_of_time(train, parts.val).verdict == "backwards"


def test_the_easier_side_is_not_the_direction_of_time(tmp_path):
    """Half of each vector faintly echoes the last one's other half: it tells the past plainly, the future not."""

    def step(x, e):
        return np.concatenate([e[:, :2], 0.3 * x[:, :2] + 0.02 * e[:, 2:]], axis=1)

    train, val = (series(tmp_path / str(seed), step, seed=seed) for seed in (0, 1))
    arrow = arrow_of_time(train, val)
    assert (arrow.verdict, arrow.easier) == ("forwards", "backwards")
    assert arrow.numbers["cos_from_after"].value > 0.9
    assert arrow.numbers["cos_from_before"].value < 0.5


def test_turned_windows_have_the_same_targets_and_what_follows_as_context(tmp_path):
    x = np.arange(2 * 12 * 2, dtype=np.float32).reshape(-1, 2)
    windows = windows_of(tmp_path / "s", x, 12, context_length=3, normalised=False)
    inner = windows.select(windows.has(-2, 4))
    after = turned(inner)
    assert np.array_equal(after.vectors(after.target_row_W), inner.vectors(inner.target_row_W))
    for w, row in enumerate(inner.target_row_W):
        assert np.array_equal(after.context()[w], x[[row + 3, row + 2, row + 1]])
    assert np.array_equal(after.end_W - after.target_row_W, inner.target_row_W - inner.start_W + 1)


def test_a_full_set_of_directions_scores_what_plain_ridge_scores(home, tmp_path):
    """The projection is a cost, not an opinion: with all directions kept the line is the ridge baseline's."""
    parts = parts_of(WORLD, home)
    assert WORLD.dim <= DIRECTIONS
    arrow = arrow_of_time(parts.train, parts.val)
    ridge = fit_ridge(parts.train, parts.val, penalties=(arrow.penalty,))
    unit = ridge(torch.from_numpy(parts.val.context())).unit_ND.numpy()
    expected = cosines(unit, parts.val.vectors(parts.val.target_row_W)).mean()
    assert arrow.numbers["cos_forwards"].value == pytest.approx(expected, abs=1e-4)


def test_isolated_windows_and_boilerplate_and_few_documents(tmp_path, home):
    parts = parts_of(WORLD, home)
    few = parts.val.select(np.isin(parts.val.document_W, np.unique(parts.val.document_W)[:4]))
    arrow = arrow_of_time(parts.train, few)
    assert (arrow.verdict, arrow.numbers) == ("undecided", None)
    assert "4 held-out documents are too few" in arrow.reason
    alone = replace(parts.val, isolated=True)
    found = arrow_of_time(parts.train, alone).to_dict()
    assert (found["verdict"], found["easier"]) == ("forwards", "undecided")
    assert found["numbers"]["cos_easier"]["value"] is None
    json.dumps(found, allow_nan=False)
    excluded_N = np.zeros(len(parts.train.vectors_ND), dtype=bool)
    excluded_N[parts.train.rows(1 - parts.train.context_length)] = True
    gone = arrow_of_time(replace(parts.train, excluded_N=excluded_N), parts.val)
    assert "0 training documents" in gone.reason


def test_a_backwards_arrow_fails_the_gate_and_an_undecided_one_does_not(home):
    reversed_parts = parts_of(replace(WORLD, variant="reversed"), home)
    found = examine(reversed_parts.train, reversed_parts.val)
    assert (found["passed"], found["failed"]) == (False, [BACKWARDS])
    forward = parts_of(WORLD, home)
    few = forward.val.select(forward.val.document_W == forward.val.document_W[0])
    assert examine(forward.train, few)["passed"]


def checked(folder: Path, *arguments: str) -> Outcome:
    """lvm_lab.check_data in this process."""
    out, err = io.StringIO(), io.StringIO()
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["check_data", *arguments])
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.chdir(folder)
        code = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                check_data.main()
            except SystemExit as leaving:
                code = int(leaving.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


DATA = [a for a in TINY if a.startswith("data.")]


@pytest.mark.slow
def test_the_command_shows_gate_and_arrow_and_makes_no_folder(tmp_path, home):
    work = tmp_path / "work"
    work.mkdir()
    for variant, words in (
        ("forward", ["data gate passed", "arrow of time: forwards"]),
        ("reversed", [f"data gate FAILED: {BACKWARDS}", "arrow of time: backwards"]),
        ("no_signal", ["data gate FAILED: ", "arrow of time: undecided"]),
    ):
        shown = checked(work, *DATA, f"run.cache={home}", f"data.variant={variant}")
        assert (shown.code, shown.err) == (0, "")
        for word in words:
            assert word in shown.out
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_the_commands_mistakes_get_one_sentence(tmp_path, home):
    for arguments, words in (
        (["data=npz"], "data=npz needs vectors to read"),
        (["data=npz", "data.path=none.npz"], "none.npz does not exist"),
        (["data.dimm=3"], "data.dimm does not exist (did you mean dim?)"),
        ([*DATA, "data.variant=reversed", "data.gate=refuse"], BACKWARDS),
    ):
        refused = checked(tmp_path, *arguments, f"run.cache={home}")
        assert refused.code == 2
        assert words in refused.sentence


@pytest.mark.slow
def test_training_on_reversed_documents_warns_and_is_recorded(tmp_path):
    reversed_world = [*TINY, "run.cache=cache", "data.variant=reversed", "trainer.max_epochs=1"]
    refused = call(tmp_path, *reversed_world, "data.gate=refuse")
    assert refused.code == 2
    assert BACKWARDS in refused.sentence
    done = call(tmp_path, *reversed_world)
    assert done.code == 0, done.err
    assert "arrow of time: backwards" in done.out
    gate = json.loads((only_run(tmp_path / "outputs") / "result.json").read_text())["data_gate"]
    assert (gate["passed"], gate["arrow"]["verdict"]) == (False, "backwards")
