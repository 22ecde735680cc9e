"""A run's files as plain numbers: what figures and model cards are made from.

Shape suffixes: D vector dim, X points of a curve.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs.reading import read_history

MOMENTS = "moments.npz"
PARTS = ("val", "ood")
# What every version has written: a run of an older one can still be drawn.
NEEDED = (
    *("name", "arch", "loss", "data", "status", "seed", "fingerprint", "seconds", "params", "epochs", "checkpoint"),
    *("five_cat", "val", "test", "ood", "baselines", "data_gate", "notes", "error", "version", "commit"),
)


@dataclass(frozen=True)
class Record:
    """result: as in result.json. moments: by `<part>_<name>_D`, as in moments.npz; empty where there is none."""

    folder: Path
    config: dict[str, Any]
    history: list[dict[str, Any]]
    result: dict[str, Any]
    moments: dict[str, np.ndarray]

    def gate(self, letter: str) -> dict[str, Any]:
        """One gate of the judgement; empty where the run was not judged."""
        gates: dict[str, Any] = self.result["five_cat"].get("gates", {})
        return gates.get(letter, {})

    def numbers(self, letter: str, part: str) -> dict[str, Any]:
        """One half's numbers that have a value."""
        half = self.gate(letter).get(part) or {"numbers": {}}
        return {name: number for name, number in half["numbers"].items() if number["value"] is not None}

    def by_part(self, letter: str) -> dict[str, dict[str, Any]]:
        """The numbers of a gate's halves that have any."""
        found = {part: self.numbers(letter, part) for part in PARTS}
        return {part: numbers for part, numbers in found.items() if numbers}

    def baseline(self, name: str, letter: str, part: str = "val") -> dict[str, float]:
        """A baseline's point estimates for one gate."""
        values: dict[str, float] = self.result["baselines"].get(name, {}).get(part, {})
        return {key.partition("/")[2]: value for key, value in values.items() if key.startswith(f"{letter}/")}

    @property
    def old_tool(self) -> bool:
        """Whether gates are the old tool's, which counts offsets from the target."""
        return self.config["five_cat"].get("tool") == "lnsp_compat"


def read(folder: Path, result: Mapping[str, Any] | None = None) -> Record:
    """The run in `folder`. result: what result.json will hold, where it is not written yet.

    Raises UserError where the folder has no result or one of its files is damaged.
    """
    file = folder / "result.json"
    if result is None and not file.is_file():
        raise UserError(
            f"{folder} has no result.json, so it is no finished run's folder; name one, for instance outputs/gru-..., "
            "or give the training's command again to finish it."
        )
    text = file.read_text() if result is None else json.dumps(result, allow_nan=False)
    found = _parse(file, lambda: json.loads(text))
    if not isinstance(found, dict) or not set(NEEDED) <= set(found):
        raise UserError(f"{file} is no result of lvm_lab; give the training's command with run.force=true.")
    config_file = folder / "config.yaml"
    config = _parse(config_file, lambda: yaml.safe_load(config_file.read_text()))
    if not isinstance(config, dict):
        raise UserError(f"{config_file} is no config of lvm_lab; give the training's command with run.force=true.")
    return Record(folder, config, read_history(folder), found, _read_moments(folder / MOMENTS))


def write_moments(folder: Path, parts: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """The moments of every part, by part and name, as float32."""
    arrays = {f"{part}_{name}": x.astype(np.float32) for part, found in parts.items() for name, x in found.items()}
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    write_atomically(folder / MOMENTS, held.getvalue())


def points(found: Mapping[str, Mapping[str, Any]], pattern: str, place: Callable[[str], int]) -> list[str]:
    """The names of a curve's points in any part, by their place on its axis."""
    return sorted({name for numbers in found.values() for name in numbers if re.fullmatch(pattern, name)}, key=place)


def curve(numbers: Mapping[str, Any], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """value_X, low_X and high_X of numbers in a row; NaN where a number or its interval is missing."""
    rows = []
    for name in names:
        number = numbers.get(name)
        low, high = (number and number["interval"]) or (None, None)
        rows.append([None if number is None else number["value"], low, high])
    value_X, low_X, high_X = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return value_X, low_X, high_X


def _read_moments(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}); delete it to go without the moments' figure.") from error


def _parse(file: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"{file} cannot be read ({type(error).__name__}); give the training's command with run.force=true."
        ) from error
