"""Reads a run's folder for everybody: config, result, history, checkpoint, and what of them is damaged; no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from lvm_lab.config import targets
from lvm_lab.config.yaml_files import LOADER
from lvm_lab.errors import UserError
from lvm_lab.runs import checkpoints, exports
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.runs.result import WAY_OUT, NoResult, Outcome, Result

CONFIG, HISTORY, CHECKPOINTS, LOCK = "config.yaml", "history.jsonl", "checkpoints", ".lock"
# Nodes of config.yaml that readers look into.
GROUPS = ("arch", "head", "loss", "data", "trainer", "five_cat", "run", "identity")
# The checkpoints that a run may be judged by, the first that is there.
BEST = ("best_5cat.ckpt", "best.ckpt")
Status = Literal["missing", "started", "running", "finished", "diverged", "failed", "damaged"]

# What helps against a damage, by file.
NEW_START = "give the training's command again with run.force=true"
WAYS_OUT = {RESULT: WAY_OUT, CONFIG: "move the folder away and give the training's command again"}


@dataclass(frozen=True)
class Damage:
    """A file that does not hold what it should, and why. reason stands after the file's name."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.reason}"

    @property
    def sentence(self) -> str:
        """What every command says of it, with the way out."""
        # run.force removes no folder where a file belongs: it may be somebody's.
        first = "move it away and " if self.reason == checkpoints.NO_FILE and self.file.name not in WAYS_OUT else ""
        return f"{self}; {first}{WAYS_OUT.get(self.file.name, NEW_START)}."


@dataclass(frozen=True)
class Identity:
    """What config.yaml records of the run beside its settings. content: of the data, by hashes."""

    fingerprint: str | None = None
    content: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run's folder.

    status: missing (nothing was begun there), started (begun and neither ended nor at work), running (a process holds
        its lock), damaged, or what result.json says.
    config: config.yaml, its targets as they are now; empty where there is none. result: None before there is one.
    history: the whole rows of history.jsonl by epoch.
    damage: the first file that does not hold what it should, if one does not.
    """

    folder: Path
    status: Status
    config: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    damage: Damage | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def outcome(self) -> Outcome | None:
        """What result.json says, also where another file is damaged; None while it is to be run."""
        return self.result.status if self.result else None

    @property
    def identity(self) -> Identity:
        recorded = self.config.get("identity")
        recorded = recorded if isinstance(recorded, dict) else {}
        fingerprint, content = recorded.get("fingerprint"), recorded.get("content")
        return Identity(None if fingerprint is None else str(fingerprint), content if isinstance(content, dict) else {})

    @property
    def checkpoint(self) -> Path | None:
        """The file that its numbers are of; without numbers best_5cat.ckpt, else best.ckpt; None if it is not there."""
        names = [self.result.checkpoint] if self.result and self.result.checkpoint else BEST
        files = (self.folder / CHECKPOINTS / name for name in names)
        return next((file for file in files if file.is_file()), None)

    def judged_checkpoint(self) -> Path:
        """The checkpoint that a finished run's numbers are of.

        The one rule for whoever takes a folder for its model: raises UserError for a run that is not finished, that
        diverged or failed, and for a damaged one.
        """
        folder, result = self.folder, self.result
        if self.status == "missing":
            raise UserError(f"{folder} holds no run; name a run's folder or a .ckpt file.")
        # A history that lost lines costs no model.
        if self.damage and self.damage.file.name != HISTORY:
            raise UserError(self.damage.sentence)
        if result is None:
            raise UserError(f"{folder} is not finished; train it to its end, or name one of its checkpoints.")
        if result.status != "finished" or self.checkpoint is None:
            raise UserError(
                f"{folder} {result.status} and has no checkpoint to judge; leave it out, or name one of its files."
            )
        return self.checkpoint


def read(folder: Path) -> Run:
    """A run's folder as it is at this moment. Writes nothing and raises nothing for what is damaged."""
    damages: list[Damage] = []
    config = _held(damages, folder / CONFIG, _config, {})
    result = _held(damages, folder / RESULT, _result, None)
    if result is not None and not config and not damages:
        damages.append(Damage(folder / CONFIG, "is missing"))
    if result is not None and result.checkpoint:
        file = folder / CHECKPOINTS / result.checkpoint
        reason = checkpoints.fault(file)
        damages += [Damage(file, reason)] if reason else []
    history = _held(damages, folder / HISTORY, _rows, [])
    if result is not None and len(history) < result.epochs:
        damages.append(Damage(folder / HISTORY, f"has {len(history)} of {result.epochs} epochs"))
    return Run(
        folder,
        status=_status(folder, config, result, damages),
        config=config,
        result=result,
        history=history,
        damage=damages[0] if damages else None,
    )


def checkpoint_of(path: Path) -> Path:
    """The checkpoint that a path means: a file is taken as it is, a folder for the export or the run that it holds.

    Raises UserError where the folder's run has no checkpoint to judge.
    """
    if not path.is_dir():
        return path
    return exports.weights_in(path) or read(path).judged_checkpoint()


def locked(folder: Path) -> bool:
    """Whether a process works in a run's folder at this moment; looks without keeping anybody from looking too."""
    lock = folder / LOCK
    if not lock.is_file():
        return False
    try:
        if fcntl is None:
            # There a lock cannot be shared: it is held for a moment.
            with FileLock(lock, timeout=0):
                return False
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, Timeout):
        return True
    except OSError:
        return False
    return False


def read_history(folder: Path) -> list[dict[str, Any]]:
    """A run's history.jsonl by epoch, as far as it is whole."""
    return _held([], folder / HISTORY, _rows, [])


def load_yaml(file: Path) -> dict[str, Any]:
    """A YAML file's mapping; empty where there is none or it cannot be read."""
    return _held([], file, _mapping, {})


def _status(folder: Path, config: dict[str, Any], result: Result | None, damages: list[Damage]) -> Status:
    if result is None and config and locked(folder):
        return "running"
    if damages:
        return "damaged"
    if result is not None:
        return result.status
    return "started" if config else "missing"


class _Torn(ValueError):
    """What is wrong with a file, and what can be read of it all the same."""

    def __init__(self, reason: str, rest: Any) -> None:
        super().__init__(reason)
        self.rest = rest


def _held(damages: list[Damage], file: Path, parse: Callable[[Path], Any], empty: Any) -> Any:
    """What a file holds, or `empty` where there is none; what is wrong with it joins the damages."""
    try:
        if file.exists() and not file.is_file():
            # Opening a pipe would wait for somebody to write into it.
            damages.append(Damage(file, checkpoints.NO_FILE))
            return empty
        return parse(file)
    except FileNotFoundError:
        return empty
    except _Torn as error:
        damages.append(Damage(file, str(error)))
        return error.rest
    except NoResult as error:
        damages.append(Damage(file, error.reason))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        damages.append(Damage(file, f"cannot be read ({type(error).__name__})"))
    return empty


def _config(file: Path) -> dict[str, Any]:
    config: dict[str, Any] = targets.current(_mapping(file))
    wrong = [group for group in GROUPS if not isinstance(config.get(group, {}), dict)]
    if wrong or not _has_texts_for_keys(config):
        raise _Torn(f"is no config of lvm_lab{f' ({wrong[0]} is no mapping)' if wrong else ''}", {})
    return config


def _mapping(file: Path) -> dict[str, Any]:
    node = yaml.load(file.read_text(encoding="utf-8"), LOADER)
    if not isinstance(node, dict):
        raise _Torn("is no config of lvm_lab", {})
    return node


def _has_texts_for_keys(node: Any) -> bool:
    if isinstance(node, dict):
        return all(isinstance(key, str) and _has_texts_for_keys(value) for key, value in node.items())
    return all(map(_has_texts_for_keys, node)) if isinstance(node, list) else True


def _result(file: Path) -> Result:
    return Result.from_json(json.loads(file.read_text(encoding="utf-8")), file)


def _rows(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines):
            raise _Torn(f"cannot be read from line {number} on", rows)
        # Else it is still being written, or never was to its end.
    return rows
