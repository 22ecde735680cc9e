"""Schedules that really train: one row, several, with crashes, kills, two processes at once, and other launchers."""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import TINY, call, finish, fork, rows, start, timeless, wait_until
from lvm_lab.sweeps import leaderboard

# All rows of the schedule, quicker: whether one runs twice or is lost hangs on no number.
SMALLER = ("data.documents=60", "data.ood_documents=20", "5cat.resamples=20", "5cat.max_windows=60")
SMOKE = ("-m", "schedule=smoke", "device=cpu", *SMALLER)
# Threads and launchers may not change a number, so every run has the same.
ONE = "device.threads=1"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"run.cache={tmp_path_factory.mktemp('cache')}"


def result(folder: Path) -> dict[str, Any]:
    """result.json without what a clock or a checkout says."""
    return {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k not in ("seconds", "commit")}


def equal(sweep: Path, unbroken: Path) -> None:
    """Every row of the unbroken sweep stands in the other, with the same history and result."""
    there = [row for row in leaderboard.read(unbroken) if row.status != "missing"]
    assert there
    for row in there:
        assert [r["epoch"] for r in rows(sweep / row.name)] == list(range(len(row.run.history))), row.name
        assert timeless(rows(sweep / row.name)) == timeless(rows(row.folder)), row.name
        assert result(sweep / row.name) == result(row.folder), row.name


@pytest.mark.slow
def test_one_row_runs_by_name_and_then_its_sweep_skips_it(tmp_path: Path, cache: str) -> None:
    done = call(tmp_path, "schedule=smoke", "run_id=gru", "device=cpu", *SMALLER, cache)
    assert done.code == 0, done.err
    folder = tmp_path / "multirun" / "smoke" / "gru"
    assert result(folder)["status"] == "finished"
    assert {f.name for f in (folder / "checkpoints").iterdir()} == {"best.ckpt", "best_5cat.ckpt"}
    before = (folder / "result.json").stat().st_mtime_ns
    rest = call(tmp_path, *SMOKE, cache, "schedule.only=gru,lstm")
    assert rest.code == 0, rest.err
    assert [r.name for r in leaderboard.read(folder.parent) if r.status == "finished"] == ["gru", "lstm"]
    assert (folder / "result.json").stat().st_mtime_ns == before
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_crash_and_a_mistake_are_recorded_and_the_rest_runs(
    tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug of ours")

    command = (*SMOKE, cache, "schedule.only=amn,gru,lstm")
    with monkeypatch.context() as patch:
        patch.setattr("lvm_lab.archs.gru.GRU.forward", broken)
        # Eight heads do not divide 30.
        said = call(tmp_path, *command, "arch.width=30")
    assert said.code == 1
    told = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert told[0].startswith("error: amn: amn: heads = 8 does not divide width = 30")
    assert told[1].startswith("error: gru: RuntimeError: a bug of ours")
    assert len(told) == 2
    sweep = tmp_path / "multirun" / "smoke"
    found = {r.name: r for r in leaderboard.read(sweep) if r.status != "missing"}
    assert {name: r.status for name, r in found.items()} == {
        "amn": "failed", "gru": "failed", "lstm": "finished"
    }  # fmt: skip
    assert "heads = 8 does not divide width = 30" in str(found["amn"].error)
    # Mended, the same rows are tried again, and the finished ones are of another width.
    refused = call(tmp_path, *command)
    assert refused.code == 2
    assert "lstm holds a run of another config (arch.width is 30 there and 32 here)" in refused.sentence
    again = call(tmp_path, *SMOKE, cache, "schedule.only=amn,gru")
    assert again.code == 0, again.err
    assert [leaderboard.entry(sweep / name).status for name in ("amn", "gru")] == ["finished", "finished"]


@pytest.mark.slow
def test_every_failing_job_of_a_plain_multirun_is_told(tmp_path: Path, cache: str) -> None:
    said = call(tmp_path, "-m", *TINY, cache, "trainer.max_epochs=1", "arch=transformer,gru,amn", "arch.width=30")
    assert said.code == 1
    told = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert told == [
        "error: transformer: heads = 4 does not divide width = 30; choose sizes where it does (arch=transformer).",
        "error: amn: heads = 8 does not divide width = 30; choose sizes where it does (arch=amn).",
    ]
    (row,) = leaderboard.read(tmp_path / "multirun" / "adhoc")
    assert (row.arch, row.status) == ("gru", "finished")


@pytest.mark.slow
def test_training_ends_on_a_plateau_if_asked(tmp_path: Path, cache: str) -> None:
    # A learning rate of next to nothing: the validation loss falls no more once it is rounded.
    asked = ("trainer.optim.lr=1e-30", "trainer.optim.weight_decay=0", "loss=mse", "trainer.max_epochs=9")
    done = call(tmp_path, *TINY, cache, *asked, "trainer.patience=2", "run.dir=patient")
    assert done.code == 0, done.err
    assert len(rows(tmp_path / "patient")) == 3
    # The gate judges the epoch that became the last.
    assert "5cat/passed" in rows(tmp_path / "patient")[-1]
    (tmp_path / "patient" / "result.json").unlink()
    again = call(tmp_path, *TINY, cache, *asked, "trainer.patience=2", "run.dir=patient")
    assert again.code == 0, again.err
    assert len(rows(tmp_path / "patient")) == 3, "a stop is kept when it is taken up again"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Path:
    """The whole smoke schedule, which nothing interrupted."""
    work = tmp_path_factory.mktemp("unbroken")
    done = call(work, *SMOKE, ONE, cache)
    assert done.code == 0, done.err
    return work / "multirun" / "smoke"


def progress(sweep: Path) -> int:
    """Epochs that stand in the histories."""
    return sum(len(file.read_bytes().splitlines()) for file in sweep.glob("*/history.jsonl"))


def results(sweep: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_mtime_ns for file in sweep.glob("*/result.json")}


@pytest.mark.slow
def test_killed_six_times_nothing_runs_twice_and_nothing_is_lost(tmp_path: Path, cache: str, unbroken: Path) -> None:
    command, draw = (*SMOKE, ONE, cache), random.Random(5)
    sweep = tmp_path / "multirun" / "smoke"
    epoch = statistics.median(row["seconds"] for r in leaderboard.read(unbroken) for row in r.run.history)
    ended: dict[str, int] = {}
    for kill in range(6):
        process, before = fork(tmp_path, *command), progress(sweep)
        if kill == 3:
            # Somewhere while it reads the table or composes.
            time.sleep(draw.uniform(0, 3))
        else:
            # Some rows further, then anywhere in training, scoring or writing.
            assert wait_until(lambda: progress(sweep) >= before + 4, process)  # noqa: B023
            # Never far, should the machine be faster now than when it was measured.
            ends, far = time.monotonic() + draw.uniform(0, 4 * epoch), progress(sweep) + 3
            wait_until(lambda: time.monotonic() > ends or progress(sweep) >= far, process)  # noqa: B023
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        finish(process)
        found = results(sweep)
        assert {name: found[name] for name in ended} == ended, "a finished run was touched"
        ended = found
    assert 4 < len(ended) < len(results(unbroken))
    done = call(tmp_path, *command)
    assert done.code == 0, done.err
    found = results(sweep)
    assert {name: found[name] for name in ended} == ended, "a finished run was touched"
    assert len(found) == len(results(unbroken))
    equal(sweep, unbroken)


@pytest.mark.slow
def test_two_processes_share_a_sweep(tmp_path: Path, cache: str, unbroken: Path) -> None:
    names = ("amn", "distilgpt2", "gru", "linformer", "lstm", "retnet", "s4", "transformer")
    command = (*SMOKE, ONE, cache, f"schedule.only={','.join(names)}")
    both = [fork(tmp_path, *command) for _ in range(2)]
    said = [finish(process) for process in both]
    assert [one.code for one in said] == [0, 0], said
    sweep = tmp_path / "multirun" / "smoke"
    for name in names:
        # Whoever trains says so in the run's own log.
        assert (sweep / name / "train.log").read_text().count("epoch 1 of 2") == 1, name
        assert timeless(rows(sweep / name)) == timeless(rows(unbroken / name))
        assert result(sweep / name) == result(unbroken / name)
        # Each was trained by one of the two, and both did something.
        assert sum(f"smoke/{name}/checkpoints" in one.out for one in said) >= 1
    assert all("epoch 1 of 2" in one.out for one in said)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_give_the_same_runs(tmp_path: Path, cache: str, unbroken: Path, launcher: str) -> None:
    more = ("hydra.launcher.n_jobs=2",) if launcher == "joblib" else ()
    if launcher != "joblib":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra [submitit]")
    names = ("amn", "gru", "lstm", "ridge")
    only = f"schedule.only={','.join(names)}"
    # Four rows, and one whose width its heads do not divide, which must not hold up the others.
    command = (*SMOKE, ONE, cache, f"hydra/launcher={launcher}", *more)
    done = finish(start(tmp_path, *command, only))
    assert done.code == 0, done.err
    sweep = tmp_path / "multirun" / "smoke"
    for name in names:
        assert timeless(rows(sweep / name)) == timeless(rows(unbroken / name))
        assert result(sweep / name) == result(unbroken / name)
    failing = finish(start(tmp_path, *command, "schedule.only=transformer,hyena", "arch.width=30"))
    assert failing.code == 1
    assert "error: transformer: transformer: heads = 4 does not divide width = 30" in failing.err
    assert leaderboard.entry(sweep / "hyena").status == "finished"


@pytest.mark.slow
def test_joblib_splits_the_cores_fairly(tmp_path: Path, cache: str) -> None:
    command = (*SMOKE, cache, "schedule.only=gru,lstm", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = finish(start(tmp_path, *command, OMP_NUM_THREADS=None))
    assert done.code == 0, done.err
    import joblib

    each = max(1, joblib.cpu_count() // 2)
    for name in ("gru", "lstm"):
        assert f"with {each} CPU threads" in (tmp_path / "multirun" / "smoke" / name / "train.log").read_text()
