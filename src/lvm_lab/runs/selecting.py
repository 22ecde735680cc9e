"""Which checkpoints a user means by paths, run folders, sweep folders and patterns; no torch."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvm_lab.errors import UserError
from lvm_lab.runs import reading
from lvm_lab.runs.written import SWEEP_FILES


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's file and, where it lies in a run's folder, what that run recorded of its data's content."""

    file: Path
    content: dict[str, str]


def find(patterns: Sequence[str]) -> tuple[list[Checkpoint], dict[str, str]]:
    """The checkpoints, each once, and what was passed over: path to reason.

    A checkpoint's file stands for itself, a finished run's folder for the checkpoint that its result is of, any other
    folder for all runs below it. Raises UserError where nothing is named or a path matches nothing.
    """
    if not patterns:
        raise UserError("no checkpoint is named; give .ckpt files, run folders or patterns, for instance outputs/*.")
    checkpoints: dict[Path, Checkpoint] = {}
    skipped: dict[str, str] = {}
    matches = [path for pattern in patterns for path in _matching(pattern)]
    # `outputs/*` means the runs, also where a shell has made it the names of everything there.
    for path in [path for path in matches if path.name not in SWEEP_FILES or path.is_dir()] or matches:
        for one in _runs_in(path) if path.is_dir() else [path]:
            try:
                file = reading.checkpoint_of(one)
            except UserError as error:
                skipped[str(one)] = str(error)
                continue
            content = reading.read(file.parent.parent).identity.content
            checkpoints.setdefault(file.resolve(), Checkpoint(file, content))
    return list(checkpoints.values()), skipped


def _matching(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise UserError(f"{pattern} matches no file and no folder; correct the path, or train a run first.")
    return [Path(match) for match in matches]


def _runs_in(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a run's, else every run's folder below it; the folder again where there is none."""
    runs = list(_runs_below(folder))
    yield from runs or [folder]


def _runs_below(folder: Path) -> Iterator[Path]:
    if (folder / reading.CONFIG).is_file():
        yield folder
        return
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.name.startswith("."):
            yield from _runs_below(item)
