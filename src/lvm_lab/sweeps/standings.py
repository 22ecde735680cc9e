"""Reads the folders of a sweep's runs, once a round, into what a plan looks at; no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lvm_lab.runs import reading
from lvm_lab.runs.identity import reads_files
from lvm_lab.sweeps import leaderboard
from lvm_lab.sweeps.plan import Standing
from lvm_lab.sweeps.schedule import Row


def read(sweep: Path, rows: Iterable[Row]) -> dict[str, Standing]:
    """By row id: what the folder of its run says at this moment."""
    return {row.id: standing(sweep / row.id) for row in rows}


def standing(folder: Path) -> Standing:
    """What the folder of one run says."""
    run = leaderboard.entry(folder)
    whole = {"arch", "data"} <= run.config.keys()
    return Standing(
        status=run.status,
        outcome=run.outcome,
        ended=_ended(folder),
        resumable=(folder / "checkpoints" / "last.ckpt").exists(),
        reads_files=whole and reads_files(run.config),
        arch=run.arch,
        seconds=run.seconds,
        config=run.config,
        error=run.error,
    )


def settled(folder: Path, since: float) -> bool:
    """Whether another process works on a run, or has ended it since the given time."""
    return reading.locked(folder) or (_ended(folder) > since and standing(folder).done)


def seconds_by_arch(sweep: Path) -> dict[str, list[float]]:
    """How long the finished runs in a sweep's folder took, also those that are no row of its schedule."""
    seconds: dict[str, list[float]] = {}
    for run in leaderboard.read(sweep) if sweep.is_dir() else []:
        if run.status == "finished" and run.seconds:
            seconds.setdefault(run.arch, []).append(run.seconds)
    return seconds


def best(
    sweep: Path, rows: Iterable[Row], count: int, gated: bool, reads: int | None = None
) -> list[tuple[Path, list[str]]]:
    """(folder, overrides) of the best run of each of the `count` best architectures among the rows' runs, best first.

    gated: only runs that pass their preset on VAL. reads: only runs that read so many vectors at once. Fewer than
    `count` where there are fewer.
    """
    board = [leaderboard.entry(sweep / row.id, settings=row.overrides) for row in rows]
    return [(run.folder, run.settings) for run in leaderboard.best_architectures(board, count, gated, reads)]


def _ended(folder: Path) -> float:
    try:
        return (folder / "result.json").stat().st_mtime
    except OSError:
        return 0.0
