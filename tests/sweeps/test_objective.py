"""sweep.objective: which numbers it may name, what it comes to, and that it changes no run."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import TINY, call
from lvm_lab.commands import composing
from lvm_lab.commands.multirun import check_folders
from lvm_lab.config import objective
from lvm_lab.errors import UserError
from lvm_lab.jobs.training import trial
from lvm_lab.runs.identity import fingerprint
from lvm_lab.runs.result import Result
from lvm_lab.sweeps.objective import KEYS, numbers, of_result


def half(**values: float) -> dict[str, Any]:
    return {"state": True, "numbers": {name: {"value": value} for name, value in values.items()}}


def result(status: str = "finished", **val: Any) -> Result:
    halves = {"A": half(cos=0.5, margin=0.25), "B": half(mrr_unseen=0.5, mrr=0.75, r1=0.625), "D": half(rollout=0.125)}
    judged = {"passed": 3, "margin": 0.25, "halves": halves}
    part = {"windows": 9, "documents": 3, "five_cat": judged, "cos": {"value": 0.375}} | val
    # Other numbers on test and OOD, of which none may show.
    elsewhere = {"windows": 9, "documents": 3, "five_cat": judged | {"passed": 4, "margin": 0.9}, "cos": {"value": 0.9}}
    named = {"name": "a", "arch": "gru", "loss": "mse", "data": "planted", "fingerprint": "f"}
    return Result.from_json(
        {"schema": 2, "status": status, "seed": 0, "seconds": 1.0, "val": part, "test": elsewhere, "ood": elsewhere}
        | named
    )


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("halves", 3.0),
        ("margin", 0.25),
        ("unseen_mrr", 0.5),
        ("mrr", 0.75),
        ("r1", 0.625),
        ("rollout", 0.125),
        ("cos", 0.375),
        ("halves + margin", 3.25),
        ("margin + 0.5 * unseen_mrr", 0.5),
        ("-(margin - 1) / 2", 0.375),
        ("margin / (cos - cos)", None),
        ("1e308 * 10 * margin", None),
    ],
)
def test_an_objective_is_a_number_of_val(expression: str, value: float | None) -> None:
    assert of_result(expression, result()) == value


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_what_did_not_finish_has_none(status: str) -> None:
    assert of_result("margin", result(status)) is None


def test_what_was_not_measured_has_none() -> None:
    unjudged = result(five_cat={"passed": 0, "margin": None, "halves": {}})
    assert of_result("margin", unjudged) is None
    assert of_result("margin + cos", unjudged) is None
    assert of_result("cos", unjudged) == 0.375


def test_every_name_has_its_number() -> None:
    assert set(numbers(result())) == set(objective.GATE_OF) == {*KEYS, "halves", "cos"}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("test_cos", "looks at test or OOD"),
        ("test/cos", "looks at test or OOD"),
        ("margin + ood_margin", "looks at test or OOD"),
        ("OOD", "looks at test or OOD"),
        ("marign", "marign is no number of VAL"),
        ("val.margin", "is more than + - * / of numbers"),
        ("margin ** 2", "is more than + - * / of numbers"),
        ("max(margin, cos)", "is more than + - * / of numbers"),
        ("__import__('os')", "is more than + - * / of numbers"),
        ("margin if cos else 1", "is more than + - * / of numbers"),
        ("margin + 'a'", "holds 'a'"),
        ("margin + True", "holds True"),
        ("margin +", "is no expression"),
        ("", "is no expression"),
        ("+".join(["margin"] * 90), "is no expression"),
        ("3", "names no number of VAL"),
    ],
)
def test_anything_else_is_refused_with_the_names_there_are(expression: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        objective.SweepSettings(expression)
    assert words in str(refused.value)
    assert "choose halves, margin, unseen_mrr, mrr, r1, rollout, cos, or an expression" in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep.objective=test_cos"], "looks at test or OOD"),
        (["sweep.objective=3"], "sweep.objective=3 does not fit"),
        (["sweep.objectiv=margin"], "sweep.objectiv does not exist (did you mean objective?)"),
        (["sweep.objective=margin", "5cat=off"], "needs 5CAT, which this preset leaves out"),
        (
            ["sweep.objective=unseen_mrr", "5cat.gates=[offsets,rollout]", "5cat.required=2"],
            "needs the gate retrieval, which 5cat.gates leaves out",
        ),
    ],
)
def test_a_command_is_refused_before_anything_runs(tmp_path: Path, arguments: list[str], words: str) -> None:
    refused = call(tmp_path, *TINY, *arguments)
    assert refused.code == 2
    assert words in refused.sentence
    assert not list(tmp_path.iterdir())


def test_it_is_out_of_the_fingerprint() -> None:
    content = {"planted": "0" * 64}
    without, others = composing.compose("train", []), composing.compose("train", ["sweep.objective=halves"])
    assert fingerprint(without, content) == fingerprint(others, content)
    assert fingerprint({k: v for k, v in without.items() if k != "sweep"}, content) == fingerprint(without, content)


@pytest.mark.slow
def test_a_finished_run_has_its_objective_without_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [s.replace("5cat", "five_cat") for s in TINY]
    config = composing.compose("train", [*settings, "trainer.max_epochs=1", "run.cache=cache"])
    assert trial(config) is None
    (folder,) = (tmp_path / "outputs").iterdir()
    before = (folder / "history.jsonl").stat().st_mtime_ns
    value = trial(config | {"sweep": {"objective": "margin"}})
    recorded = Result.from_json(json.loads((folder / "result.json").read_text()))
    assert value == recorded.value("val", "A/margin")
    assert (folder / "history.jsonl").stat().st_mtime_ns == before
    assert trial(config | {"sweep": {"objective": "halves"}}) == recorded.scores("val").passed  # type: ignore[union-attr]


INTERVAL = "trainer.optim.lr=tag(log,interval(1e-4,1e-2))"


@pytest.mark.parametrize("folder", ["run.dir=one", "run.dir='one/${seed}'"])
def test_trials_of_an_optimiser_do_not_share_a_folder(folder: str) -> None:
    with pytest.raises(UserError, match=r"is the folder of several of these"):
        check_folders("train", ["-m", "hydra/sweeper=optuna", INTERVAL, folder])


@pytest.mark.parametrize("folder", ["seed=1", "run.dir='one/${trainer.optim.lr}'"])
def test_trials_with_folders_of_their_own(folder: str) -> None:
    check_folders("train", ["-m", "hydra/sweeper=optuna", INTERVAL, folder])


def test_a_space_too_large_to_multiply_out_is_checked_all_the_same() -> None:
    """Ten settings of ten values each are ten thousand million jobs."""
    many = [f"+arch.extra{n}=choice({','.join(map(str, range(10)))})" for n in range(10)]
    with pytest.raises(UserError, match=r"is the folder of several of these"):
        check_folders("train", ["-m", "hydra/sweeper=optuna", *many, "run.dir=one"])


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is not None, reason="the Optuna sweeper is here"
)
def test_without_the_plugin_the_way_to_it_is_told(tmp_path: Path) -> None:
    refused = call(tmp_path, "-m", "hydra/sweeper=optuna", INTERVAL, "sweep.objective=margin")
    assert refused.code == 2
    assert refused.sentence == (
        'hydra/sweeper=optuna is not installed; pip install -c constraints.txt -e ".[optuna]" brings it.'
    )
