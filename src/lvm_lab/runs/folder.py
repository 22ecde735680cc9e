"""Run identity: the fingerprint, the folder, and whether to start, go on, or say that it is finished; no torch."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import FileLock, Timeout

from lvm_lab import __version__
from lvm_lab.config.sources import without_secrets, without_secrets_of_failed
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs.identity import fingerprint, left_out
from lvm_lab.runs.process import commit, is_leader
from lvm_lab.runs.reading import read_history
from lvm_lab.runs.result import Result

# A lock is looked at, and then held for a moment, by those who ask whether a run is at work.
LOCK_SECONDS = 0.5
# The fingerprint of a run that failed before its data were read.
NEVER_KNOWN = "unknown"


class Busy(UserError):
    """Another process works on the run."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `state` says what is to be done in it."""

    path: Path
    fingerprint: str
    state: Literal["new", "resume", "finished"]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def history(self) -> Path:
        return self.path / "history.jsonl"

    def result(self) -> Result:
        return Result(**json.loads((self.path / "result.json").read_text()))

    def finish(self, result: Result) -> None:
        write_atomically(self.path / "result.json", json.dumps(asdict(result), indent=2, allow_nan=False))

    def append_history(self, row: dict[str, Any]) -> None:
        with open(self.history, "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_history(self) -> list[dict[str, Any]]:
        return read_history(self.path)

    def cut_history(self, epochs: int) -> None:
        """Keep the first `epochs` rows: what came after the last checkpoint will be computed again."""
        lines = self.history.read_text().splitlines() if self.history.exists() else []
        whole = [line for line in lines if _is_row_before(line, epochs)]
        write_atomically(self.history, "".join(line + "\n" for line in whole))


@contextmanager
def claim(
    config: dict[str, Any], content: dict[str, str], *, directory: str | None, root: Path, force: bool
) -> Iterator[RunFolder]:
    """Find the run's folder, lock it, and decide what is to be done in it.

    Raises UserError where the folder is another config's or another process works in it.
    """
    own = fingerprint(config, content)
    default = "-".join([config["arch"]["name"], config["loss"]["name"], config["data"]["name"], own[:8]])
    path = Path(directory) if directory else root / default
    existed = path.exists()
    if existed and not path.is_dir():
        raise UserError(f"{path} is a file where a run's folder is needed; choose another run.dir.")
    _refuse_others(path, own, force)
    if not is_leader():
        # The first process of a run on several devices has decided already.
        yield RunFolder(path, own, _state(path))
        return
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / ".lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise Busy(f"another process is working on {path}; wait for it, or choose another run.dir.") from None
    try:
        # Another process may have written since.
        _refuse_others(path, own, force)
        if force or (_recorded_fingerprint(path) is not None and _status(path) == "failed"):
            _empty(path)
        state = _state(path)
        if state == "new":
            _empty(path)
            write_atomically(
                path / "config.yaml",
                yaml.safe_dump(_identified(without_secrets(config), content, own), sort_keys=False),
            )
        _remove_torn(path)
        yield RunFolder(path, own, state)
    except UserError:
        # A mistake that shows only now leaves nothing behind, unless there is something to go on from.
        if _state(path) == "new":
            _empty(path)
            lock.release()
            _remove(made, path)
        raise
    finally:
        lock.release()


def record_failure(path: Path, config: dict[str, Any], error: str) -> None:
    """Leave word of a run that failed before it had a folder, so that a sweep's table can tell of it.

    What a run at work, a finished one or a session of its own has left there stays.
    """
    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / ".lock", timeout=LOCK_SECONDS):
            if _status(path) is not None:
                return
            arch, loss, data = (config[group]["name"] for group in ("arch", "loss", "data"))
            config, error = without_secrets_of_failed(config, error)
            identity = _identified(config, {}, NEVER_KNOWN)
            if not (path / "config.yaml").exists():
                write_atomically(path / "config.yaml", yaml.safe_dump(identity, sort_keys=False))
            told = {"error": error, "commit": commit()}
            result = Result(path.name, arch, loss, data, "failed", config["seed"], NEVER_KNOWN, 0.0, **told)  # type: ignore[arg-type]
            RunFolder(path, NEVER_KNOWN, "new").finish(result)
    except Timeout:
        return


def locked(path: Path) -> bool:
    """Whether a process works in a run's folder at this moment; looks without taking the lock."""
    try:
        with open(path / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _refuse_others(path: Path, own: str, force: bool) -> None:
    """UserError where the folder holds anything but this run; a failed one holds nothing that is to be kept."""
    if not path.exists():
        return
    recorded = _recorded_fingerprint(path)
    if recorded is None and any(not item.name.startswith(".") for item in path.iterdir()):
        raise UserError(f"{path} is not a run's folder and is not empty; choose another run.dir.")
    if recorded not in (None, own) and not force and _status(path) != "failed":
        raise UserError(
            f"{path} holds a run of another config (fingerprint {str(recorded)[:8]}, this one is {own[:8]}); "
            "choose another run.dir, or run.force=true to start over in it."
        )


def _identified(config: dict[str, Any], content: dict[str, str], own: str) -> dict[str, Any]:
    identity = {"fingerprint": own, "content": content, "left_out": left_out(config)}
    return config | {"identity": identity | {"version": __version__, "commit": commit()}}


def _recorded_fingerprint(path: Path) -> str | None:
    file = path / "config.yaml"
    if not file.exists():
        return None
    try:
        return str(yaml.safe_load(file.read_text())["identity"]["fingerprint"])
    except (yaml.YAMLError, ValueError, KeyError, TypeError):
        # Somebody else's config.yaml: even run.force must not empty this folder.
        return None


def _status(path: Path) -> str | None:
    file = path / "result.json"
    return json.loads(file.read_text())["status"] if file.exists() else None


def _state(path: Path) -> Literal["new", "resume", "finished"]:
    if _status(path) in ("finished", "diverged"):
        return "finished"
    started = (path / "config.yaml").exists() and (path / "checkpoints" / "last.ckpt").exists()
    return "resume" if started else "new"


def _empty(path: Path) -> None:
    for item in path.iterdir():
        if item.name == ".lock":
            continue
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def _remove_torn(path: Path) -> None:
    """What a killed process was writing: files that have not got their names yet."""
    for folder in (path, path / "checkpoints", path / "plots"):
        for item in folder.glob(".*.*"):
            item.unlink()


def _remove(made: list[Path], path: Path) -> None:
    """Remove the folders that this process made, innermost first, while they are empty."""
    if path in made:
        (path / ".lock").unlink(missing_ok=True)
    for folder in made:
        try:
            folder.rmdir()
        except OSError:
            return


def _is_row_before(line: str, epochs: int) -> bool:
    try:
        return int(json.loads(line)["epoch"]) < epochs
    except (json.JSONDecodeError, KeyError, TypeError):
        # A torn last line: the row was being written when the run was killed.
        return False
