"""A run that was cut off, however, ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import lvm_lab
from helpers.commands import (
    HELPERS,
    MODEL,
    WORLD,
    Outcome,
    call,
    finish,
    fork,
    only_run,
    rows,
    start,
    timeless,
    tree,
    wait_until,
)

# Each trains, is killed and goes on: seconds each, minutes in all.
pytestmark = pytest.mark.slow

INTERRUPTING = HELPERS / "interrupting.py"
EPOCHS = 6
AFTER_EACH_BATCH = "trainer.checkpoint.every_minutes=1e-9"
MANY_BATCHES = ("trainer.batch_size=16",)
# Dropout and hard negatives draw random numbers; the gate runs in training and, with keep_best, more files are kept.
SETTINGS = (
    *WORLD,
    *MODEL,
    "arch.dropout=0.2",
    "loss.negatives=2",
    "trainer.batch_size=128",
    "5cat.every_n_epochs=2",
    "trainer.checkpoint.keep_best=2",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def unbroken_run(folder: Path, cache: Path, epochs: int, *more: str) -> Path:
    done = call(folder, *SETTINGS, f"run.cache={cache}", f"trainer.max_epochs={epochs}", *more)
    assert done.code == 0, done.err
    return only_run(folder / "outputs")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of the run that nothing interrupted."""
    return unbroken_run(tmp_path_factory.mktemp("unbroken"), cache, EPOCHS)


@pytest.fixture
def command(cache: Path) -> tuple[str, ...]:
    return (*SETTINGS, f"run.cache={cache}", f"trainer.max_epochs={EPOCHS}")


def equal(folder: Path, unbroken: Path) -> None:
    """The same history, result, files and weights as the run that was not interrupted."""
    assert timeless(rows(folder)) == timeless(rows(unbroken))
    results = [json.loads((f / "result.json").read_text()) for f in (folder, unbroken)]
    for result in results:
        assert result.pop("seconds") > 0
        # Of the checkout, which may be committed to while tests run.
        result.pop("commit")
    assert results[0] == results[1]
    assert set(tree(folder)) == set(tree(unbroken))
    for file in unbroken.glob("checkpoints/*.ckpt"):
        ours, theirs = (torch.load(f, weights_only=True) for f in (folder / "checkpoints" / file.name, file))
        assert ours["epoch"] == theirs["epoch"], file.name
        for name, weights in theirs["state_dict"].items():
            assert torch.equal(ours["state_dict"][name], weights), (file.name, name)


def count(history: Path) -> int:
    return len(history.read_text().splitlines()) if history.exists() else 0


def cut_off(folder: Path, command: tuple[str, ...], place: str, n: int) -> Path:
    """A run that kills itself at a place; its folder."""
    said = finish(fork(folder, place, str(n), *command, script=INTERRUPTING))
    assert said.code == -signal.SIGKILL, said.err
    interrupted = only_run(folder / "outputs")
    assert not (interrupted / "result.json").exists()
    return interrupted


def go_on(folder: Path, command: tuple[str, ...]) -> Outcome:
    said = call(folder, *command)
    assert said.code == 0, said.err
    assert "going on after epoch" in said.out
    return said


def test_killed_once_and_with_a_torn_row(tmp_path: Path, command: tuple[str, ...], unbroken: Path) -> None:
    process = fork(tmp_path, *command)
    assert wait_until(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")), process)
    process.kill()
    finish(process)
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    assert count(folder / "history.jsonl") < EPOCHS, "it ended before it was killed"
    with open(folder / "history.jsonl", "a") as history:
        history.write('{"epoch": 5, "step": 12, "train/lo')
    go_on(tmp_path, command)
    equal(folder, unbroken)


@pytest.mark.parametrize(
    ("place", "n"),
    [
        ("half-checkpoint", 2),
        ("half-checkpoint", 7),
        ("unnamed-checkpoint", 8),
        ("validation", 9),
        ("scoring", 1),
    ],
)
def test_killed_at_a_place(tmp_path: Path, command: tuple[str, ...], unbroken: Path, place: str, n: int) -> None:
    folder = cut_off(tmp_path, command, place, n)
    last = folder / "checkpoints" / "last.ckpt"
    if place.endswith("checkpoint"):
        assert list((folder / "checkpoints").glob(".*.ckpt.*")), "nothing was being written"
    if last.exists():
        lvm_lab.load(last)
        go_on(tmp_path, command)
    else:
        assert call(tmp_path, *command).code == 0
    equal(folder, unbroken)


def test_a_stop_is_kept_when_killed_while_scoring(tmp_path: Path, cache: Path) -> None:
    """Training that ended early may not go on because its scoring was cut off."""
    command = (*SETTINGS, f"run.cache={cache}", "trainer.max_epochs=9", "5cat.on_failure=stop")
    folder = cut_off(tmp_path, command, "scoring", 1)
    assert len(rows(folder)) == 2
    go_on(tmp_path, command)
    assert len(rows(folder)) == 2
    assert json.loads((folder / "result.json").read_text())["epochs"] == 2


def test_a_divergence_is_kept_when_killed_while_scoring(tmp_path: Path, cache: Path) -> None:
    diverging = ("trainer.optim.lr=1e30", "trainer.optim.clip=0", "loss=mse")
    command = (*WORLD, *MODEL, f"run.cache={cache}", "trainer.max_epochs=3", *diverging)
    folder = cut_off(tmp_path, command, "scoring", 1)
    go_on(tmp_path, command)
    assert json.loads((folder / "result.json").read_text())["status"] == "diverged"
    assert len(rows(folder)) == 1


def test_the_time_before_the_cut_counts(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = cut_off(tmp_path, command, "scoring", 1)
    history = rows(folder)
    for row in history:
        row["seconds"] = 100.0
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    go_on(tmp_path, command)
    assert json.loads((folder / "result.json").read_text())["seconds"] > 100 * EPOCHS


def test_a_disk_that_fills_up(tmp_path: Path, command: tuple[str, ...], unbroken: Path) -> None:
    full = finish(fork(tmp_path, "full-disk", "8", *command, script=INTERRUPTING))
    assert full.code == 2
    assert "could not be written (No space left on device)" in full.sentence
    assert "give the same command again" in full.sentence
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    assert not list((folder / "checkpoints").glob(".*"))
    lvm_lab.load(folder / "checkpoints" / "last.ckpt")
    go_on(tmp_path, command)
    equal(folder, unbroken)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]
        mounted = subprocess.run(mount, capture_output=True, timeout=1800).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True, timeout=1800)


def test_a_disk_that_somebody_else_fills(command: tuple[str, ...], unbroken: Path, small_disk: Path) -> None:
    """The same on a real file system without any room, where history and log cannot grow either."""
    process = fork(small_disk, *command)
    assert wait_until(lambda: list(small_disk.glob("outputs/*/checkpoints/last.ckpt")), process)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass
    full = finish(process)
    assert full.code == 2, full
    assert "No space left on device" in full.sentence
    folder = only_run(small_disk / "outputs")
    assert not (folder / "result.json").exists()
    lvm_lab.load(folder / "checkpoints" / "last.ckpt")
    filler.unlink()
    go_on(small_disk, command)
    equal(folder, unbroken)


def test_ctrl_c(tmp_path: Path, command: tuple[str, ...], unbroken: Path) -> None:
    process = start(tmp_path, *command)
    assert wait_until(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")), process)
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert said.code == 130
    assert "interrupted; the same command goes on from the last checkpoint" in said.err
    assert "Traceback" not in said.err
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    go_on(tmp_path, command)
    equal(folder, unbroken)


@pytest.fixture(scope="module")
def in_small_batches(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a run whose epochs have many batches."""
    return unbroken_run(tmp_path_factory.mktemp("small_batches"), cache, EPOCHS, *MANY_BATCHES)


def test_sigterm(tmp_path: Path, command: tuple[str, ...], in_small_batches: Path) -> None:
    process = fork(tmp_path, *command, *MANY_BATCHES, AFTER_EACH_BATCH)
    assert wait_until(lambda: list(tmp_path.glob("outputs/*/checkpoints/last.ckpt")), process)
    os.kill(process.pid, signal.SIGTERM)
    said = finish(process)
    assert said.code == 143, said
    assert "interrupted; the same command goes on from the last checkpoint" in said.err
    assert "Traceback" not in said.err
    folder = only_run(tmp_path / "outputs")
    assert not (folder / "result.json").exists()
    lvm_lab.load(folder / "checkpoints" / "last.ckpt")
    go_on(tmp_path, (*command, *MANY_BATCHES))
    equal(folder, in_small_batches)


def test_killed_at_random_batches(tmp_path: Path, command: tuple[str, ...], in_small_batches: Path) -> None:
    """SIGKILL five times while last.ckpt is written after every batch: also in the middle of its being written."""
    draw = random.Random(11)
    last = tmp_path / "outputs" / in_small_batches.name / "checkpoints" / "last.ckpt"
    inside = []
    for _ in range(5):
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = fork(tmp_path, *command, *MANY_BATCHES, AFTER_EACH_BATCH)
        assert wait_until(lambda: last.exists() and last.stat().st_mtime_ns > before, process)  # noqa: B023
        time.sleep(draw.uniform(0, 0.1))
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        finish(process)
        inside.append("inside_epoch" in torch.load(last, weights_only=True))
    assert any(inside)
    go_on(tmp_path, (*command, *MANY_BATCHES))
    equal(last.parents[1], in_small_batches)


def test_damaged_last_checkpoint_is_told(tmp_path: Path, command: tuple[str, ...], unbroken: Path) -> None:
    shutil.copytree(unbroken, tmp_path / "outputs" / unbroken.name)
    folder = only_run(tmp_path / "outputs")
    (folder / "result.json").unlink()
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"half")
    refused = call(tmp_path, *command)
    assert refused.code == 2
    assert "last.ckpt is no readable checkpoint" in refused.err
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_killed_ten_times_at_random(tmp_path: Path, cache: Path) -> None:
    """Ten SIGKILLs at any place of the run, some while it composes or loads, most in or between two epochs."""
    epochs, draw = 40, random.Random(7)
    (tmp_path / "unbroken").mkdir()
    (tmp_path / "broken").mkdir()
    unbroken = unbroken_run(tmp_path / "unbroken", cache, epochs)
    # Delays go by this machine's pace, so that the kills fall where they should on a fast one too.
    epoch_seconds = statistics.median(row["seconds"] for row in rows(unbroken))
    command = (*SETTINGS, f"run.cache={cache}", f"trainer.max_epochs={epochs}")
    work = tmp_path / "broken"
    history = work / "outputs" / unbroken.name / "history.jsonl"
    start_seconds = 0.0
    for kill in range(10):
        process, before, started = fork(work, *command), last_row(history), time.monotonic()
        if kill in (3, 7):
            delay = draw.uniform(0, start_seconds)
        else:
            assert wait_until(lambda: last_row(history) > before, process), "it ended before it was killed"  # noqa: B023
            start_seconds = start_seconds or time.monotonic() - started
            delay = draw.uniform(0, 2 * epoch_seconds)
        ends = time.monotonic() + delay
        # Never far, should the machine be faster now than when it was measured.
        far = last_row(history) + 2
        wait_until(lambda: time.monotonic() > ends or last_row(history) >= far, process)  # noqa: B023
        assert process.poll() is None, "it ended before it was killed"
        process.kill()
        finish(process)
    assert 0 < last_row(history) < epochs
    go_on(work, command)
    equal(history.parent, unbroken)


def last_row(history: Path) -> int:
    """How far the history goes; 0 before there is one or while it is being cut."""
    found: list[Any] = [0]
    try:
        for line in history.read_text().splitlines():
            found.append(json.loads(line)["epoch"] + 1)
    except (OSError, json.JSONDecodeError):
        pass
    return max(found)
