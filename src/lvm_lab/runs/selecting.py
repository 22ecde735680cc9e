"""Which checkpoints a user means by paths, run folders, sweep folders and patterns; no torch."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Found:
    """A checkpoint's file and, where it lies in a run's folder, what that run recorded of its data's content."""

    file: Path
    content: dict[str, str]


def find(asked: Sequence[str]) -> tuple[list[Found], dict[str, str]]:
    """The checkpoints, each once, and what was passed over: path to reason.

    A checkpoint's file stands for itself, a finished run's folder for the checkpoint that its result is of, any other
    folder for all runs below it. Raises UserError where nothing is named or a path matches nothing.
    """
    if not asked:
        raise UserError("no checkpoint is named; give .ckpt files, run folders or patterns, for instance outputs/*.")
    found: dict[Path, Found] = {}
    skipped: dict[str, str] = {}
    for path in (path for pattern in asked for path in _matching(pattern)):
        for one in _runs_in(path) if path.is_dir() else [path]:
            try:
                file = _of_run(one) if one.is_dir() else one
            except UserError as error:
                skipped[str(one)] = str(error)
                continue
            found.setdefault(file.resolve(), Found(file, _content(file.parent.parent)))
    return list(found.values()), skipped


def _matching(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise UserError(f"{pattern} matches no file and no folder; correct the path, or train a run first.")
    return [Path(match) for match in matches]


def _runs_in(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a run's, else every run's folder below it; the folder again where there is none."""
    listed = list(_runs_below(folder))
    yield from listed or [folder]


def _runs_below(folder: Path) -> Iterator[Path]:
    if (folder / "config.yaml").is_file():
        yield folder
        return
    for item in sorted(folder.iterdir()):
        if item.is_dir() and not item.name.startswith("."):
            yield from _runs_below(item)


def _of_run(folder: Path) -> Path:
    """The checkpoint that a finished run's numbers are of."""
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds no run; name a run's folder or a .ckpt file.")
    try:
        result = json.loads((folder / "result.json").read_text())
        status, name = result["status"], result["checkpoint"]
    except FileNotFoundError:
        raise UserError(f"{folder} is not finished; train it to its end, or name one of its checkpoints.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder} has a result.json that cannot be read; name one of its checkpoints.") from None
    if status != "finished" or not name:
        raise UserError(f"{folder} {status} and has no checkpoint to judge; leave it out, or name one of its files.")
    file = folder / "checkpoints" / name
    if not file.is_file():
        raise UserError(f"{folder} has lost its {name}; train it again with run.force=true.")
    return file


def _content(folder: Path) -> dict[str, str]:
    """What the run of this folder recorded of its data; empty where it is no run's folder."""
    try:
        recorded: Any = yaml.safe_load((folder / "config.yaml").read_text())["identity"]["content"]
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError):
        return {}
    return recorded if isinstance(recorded, dict) else {}
