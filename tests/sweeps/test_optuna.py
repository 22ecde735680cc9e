"""Hydra's Optuna sweeper over real runs: it maximises, goes on after a kill, and counts what diverged as failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from helpers.commands import WORLD, Outcome, call

optuna = pytest.importorskip("optuna", reason='needs the extra optuna: nox -s optuna, or pip install -e ".[optuna]"')
pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna: nox -s optuna")
pytestmark = pytest.mark.slow

FOLDER = "multirun/lr"
SEED = "hydra.sweeper.sampler.seed=0"
SWEEPER = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", SEED, f"hydra.sweep.dir={FOLDER}")
MAXIMISE = (*SWEEPER, "hydra.sweeper.direction=maximize", "sweep.objective=margin")
MODEL = ("arch=gru", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache")
SEARCH = "trainer.optim.lr=tag(log,interval(1e-4,1e-1))"


def sweep(folder: Path, *arguments: str, sweeper: tuple[str, ...] = MAXIMISE) -> Outcome:
    # A setting that stands there twice is a fixed one for Optuna.
    width = [] if any(a.startswith("arch.width=") for a in arguments) else ["arch.width=16"]
    return call(folder, "-m", *sweeper, *WORLD, *MODEL, *width, "trainer.max_epochs=1", *arguments)


def results(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob(f"{FOLDER}/*/result.json")}


def margin(result: dict) -> float:
    return float(result["val"]["five_cat"]["margin"])


def histories(folder: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in folder.glob(f"{FOLDER}/*/history.jsonl")}


def study(folder: Path) -> list:
    return optuna.load_study("lr", storage=f"sqlite:///{folder / 'study.db'}").trials


def test_it_finds_the_largest_margin_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Killed, the same command proposes the same trials: those that are finished give their number at once."""
    first = sweep(tmp_path, SEARCH, "hydra.sweeper.n_trials=2")
    assert first.code == 0, first.err
    before = histories(tmp_path)
    assert len(before) == 2
    again = sweep(tmp_path, SEARCH, "hydra.sweeper.n_trials=3")
    assert again.code == 0, again.err
    after = histories(tmp_path)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    best = yaml.safe_load((tmp_path / FOLDER / "optimization_results.yaml").read_text())
    margins = {name: margin(result) for name, result in results(tmp_path).items()}
    assert best["best_value"] == max(margins.values())
    config = yaml.safe_load((tmp_path / FOLDER / max(margins, key=margins.__getitem__) / "config.yaml").read_text())
    assert config["trainer"]["optim"]["lr"] == best["best_params"]["trainer.optim.lr"]


def test_a_study_on_disk_grows_and_holds_the_recorded_objectives(tmp_path: Path) -> None:
    storage = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=lr")
    for count in (1, 2):
        outcome = sweep(tmp_path, SEARCH, *storage, "hydra.sweeper.n_trials=1", f"{SEED[:-1]}{count}")
        assert outcome.code == 0, outcome.err
        assert len(study(tmp_path)) == count
    told = sorted(trial.value for trial in study(tmp_path))
    assert told == sorted(margin(result) for result in results(tmp_path).values())


def test_what_diverged_or_failed_is_a_failed_trial_and_the_sweep_goes_on(tmp_path: Path) -> None:
    """Among a width that trains and one that no layer can have, a rate that trains and one that blows weights up."""
    storage = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=lr", "hydra.sweeper.n_trials=4")
    # By this seed Optuna proposes each of the four once.
    storage += ("hydra.sweeper.sampler.seed=5",)
    outcome = sweep(tmp_path, *storage, "arch.width=choice(16,-1)", "trainer.optim.lr=choice(3e-3,1e30)")
    assert outcome.code == 1
    assert "arch.width=-1" in outcome.err
    states = {(t.params["arch.width"], float(t.params["trainer.optim.lr"]) < 1, t.state.name) for t in study(tmp_path)}
    assert states == {(16, True, "COMPLETE"), (16, False, "FAIL"), (-1, True, "FAIL"), (-1, False, "FAIL")}
    assert sorted(result["status"] for result in results(tmp_path).values()) == ["diverged", "finished"]
    best = yaml.safe_load((tmp_path / FOLDER / "optimization_results.yaml").read_text())
    assert best["best_params"]["arch.width"] == 16


def test_a_sweep_without_one_good_trial_says_so(tmp_path: Path) -> None:
    outcome = sweep(tmp_path, "trainer.optim.lr=choice(1e30,2e30)", "hydra.sweeper.n_trials=1")
    assert outcome.code == 1
    assert outcome.sentence.startswith("no trial of this sweep has an objective, because every run failed, diverged")


@pytest.mark.parametrize(
    ("sweeper", "words"),
    [
        ((*SWEEPER, "hydra.sweeper.direction=maximize"), "has nothing to maximise; add sweep.objective"),
        ((*SWEEPER, "sweep.objective=margin"), "hydra.sweeper.direction=minimize would look for the worst run"),
        ((*MAXIMISE, "sweep.objective=ood_cos"), "looks at test or OOD vectors"),
        ((*MAXIMISE, "run.dir=one"), "run.dir=one is the folder of several of these"),
        (
            (*MAXIMISE, "run.dir=one", "+hydra.sweeper.params.seed=choice(1,2)"),
            "run.dir=one is the folder of several of these",
        ),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused_before_it_runs(
    tmp_path: Path, sweeper: tuple[str, ...], words: str
) -> None:
    refused = sweep(tmp_path, SEARCH, sweeper=sweeper)
    assert refused.code == 2
    assert words in refused.sentence
    assert not (tmp_path / FOLDER).exists()
