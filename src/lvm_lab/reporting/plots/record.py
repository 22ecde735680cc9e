"""A run's files as plain numbers: what figures and model cards are made from.

Shape suffixes: D vector dim, X points of a curve.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import reading
from lvm_lab.runs.judgement import Number
from lvm_lab.runs.reading import CONFIG, HISTORY
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.runs.result import Result

MOMENTS = "moments.npz"
PARTS = ("val", "ood")


@dataclass(frozen=True)
class Record:
    """A run that has ended. moments: by `<part>_<name>_D`, as in moments.npz; empty where there is none."""

    folder: Path
    config: dict[str, Any]
    history: list[dict[str, Any]]
    result: Result
    moments: dict[str, np.ndarray]

    def numbers(self, letter: str, part: str) -> dict[str, Number]:
        """One half's numbers that have a value."""
        numbers = self.result.numbers(part, letter)
        return {name: number for name, number in numbers.items() if number.value is not None}

    def by_part(self, letter: str) -> dict[str, dict[str, Number]]:
        """The numbers of a gate's halves that have any."""
        parts = {part: self.numbers(letter, part) for part in PARTS}
        return {part: numbers for part, numbers in parts.items() if numbers}

    def baseline(self, name: str, letter: str) -> dict[str, float]:
        """A baseline's point estimates for one gate on VAL."""
        summary = self.result.baseline_summaries.get(name)
        values = summary.val if summary else {}
        return {key.partition("/")[2]: value for key, value in values.items() if key.startswith(f"{letter}/")}

    @property
    def old_tool(self) -> bool:
        """Whether gates are the old tool's, which counts offsets from the target."""
        return bool(self.config["five_cat"].get("tool") == "lnsp_compat")


def read(folder: Path, result: Result | None = None) -> Record:
    """The run in `folder`. result: what result.json will hold, where it is not written yet.

    Raises UserError where the folder has no result or one of its files is damaged.
    """
    run = reading.read(folder)
    result = result or run.result
    if result is None and not (folder / RESULT).exists():
        raise UserError(
            f"{folder} has no result.json, so it is no finished run's folder; name one, for instance outputs/gru-..., "
            "or give the training's command again to finish it."
        )
    # Neither the checkpoint nor a whole history is needed here.
    if result is None or not run.config:
        assert run.damage is not None, f"{folder} is whole and has no result"
        raise UserError(run.damage.sentence)
    return Record(folder, run.config, run.history, result, _read_moments(folder / MOMENTS))


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Around what is made of a run's files: UserError where they parse and lack what it reads all the same.

    Every command writes them whole, so somebody has changed one.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder} has a {CONFIG}, {RESULT} or {HISTORY} that was changed ({type(error).__name__}: {error}); "
            f"{reading.NEW_START}."
        ) from error


def write_moments(folder: Path, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """The moments of every part, by part and name, as float32."""
    arrays = {f"{part}_{name}": x.astype(np.float32) for part, moments in parts.items() for name, x in moments.items()}
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    write_atomically(folder / MOMENTS, held.getvalue())


def points(parts: Mapping[str, Mapping[str, Number]], pattern: str, place: Callable[[str], int]) -> list[str]:
    """The names of a curve's points in any part, by their place on its axis."""
    names = {name for numbers in parts.values() for name in numbers if re.fullmatch(pattern, name)}
    return sorted(names, key=place)


def curve(numbers: Mapping[str, Number], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """value_X, low_X and high_X of numbers in a row; NaN where a number or its interval is missing."""
    rows = []
    for name in names:
        number = numbers.get(name, Number(None))
        rows.append([number.value, *(number.interval or (None, None))])
    value_X, low_X, high_X = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return value_X, low_X, high_X


def _read_moments(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    if not file.is_file():
        # Reading a pipe would wait for somebody to write into it.
        raise UserError(f"{file} is no file; delete it to go without the moments' figure.")
    try:
        with np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # NumPy takes what it does not know for a pickle and says so at length.
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise UserError(f"{file} is damaged{reason}; delete it to go without the moments' figure.") from error
