"""A run's folder at work: whose it is, and whether to start, go on, or say that it is finished; no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import Timeout

from lvm_lab import __version__, locks
from lvm_lab.config.sources import without_secrets, without_secrets_of_failed
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.runs import reading, written
from lvm_lab.runs.identity import fingerprint, left_out, title
from lvm_lab.runs.process import commit, is_leader
from lvm_lab.runs.reading import CHECKPOINTS, CONFIG, HISTORY, LOCK
from lvm_lab.runs.result import FILE as RESULT
from lvm_lab.runs.result import Result

# A lock is looked at, and then held for a moment, by those who ask whether a run is at work.
LOCK_SECONDS = 0.5
# The fingerprint of a run that failed before its data were read.
NEVER_KNOWN = "unknown"

State = Literal["new", "resume", "finished"]
# The outcomes after which nothing is left to do.
FINISHED = ("finished", "diverged")


class Busy(UserError):
    """Another process works on the run."""


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `state` says what is to be done in it."""

    path: Path
    fingerprint: str
    state: State

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def history(self) -> Path:
        return self.path / HISTORY

    def result(self) -> Result:
        """What the finished run has written."""
        result = reading.read(self.path).result
        assert result is not None, f"{self.path} is not finished"
        return result

    def finish(self, result: Result) -> None:
        write_atomically(self.path / RESULT, json.dumps(result.to_json(), indent=2, allow_nan=False))

    def append_history(self, row: dict[str, Any]) -> None:
        with open(self.history, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_history(self) -> list[dict[str, Any]]:
        return reading.read_history(self.path)

    def cut_history(self, epochs: int) -> None:
        """Keep the first `epochs` rows: what came after the last checkpoint will be computed again."""
        lines = self.history.read_text(errors="replace").splitlines() if self.history.exists() else []
        whole = [line for line in lines if _is_row_before(line, epochs)]
        write_atomically(self.history, "".join(line + "\n" for line in whole))


@contextmanager
def claim(
    config: dict[str, Any], content: dict[str, str], *, directory: str | None, root: Path, force: bool
) -> Iterator[RunFolder]:
    """Find the run's folder, lock it, and decide what is to be done in it.

    Raises UserError where the folder is another config's, it is damaged and finished or another process works in it.
    """
    own = fingerprint(config, content)
    path = Path(directory) if directory else root / f"{title(config)}-{own[:8]}"
    _refuse_others(path, own, force)
    written.check_lock(path)
    if not is_leader():
        # The first process of a run on several devices has decided already.
        yield RunFolder(path, own, _state(path))
        return
    new_folders = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        lock = locks.take(path / LOCK, timeout=LOCK_SECONDS)
    except Timeout:
        raise Busy(f"another process is working on {path}; wait for it, or choose another run.dir.") from None
    claimed = False
    try:
        # Another process may have written since.
        _refuse_others(path, own, force)
        run = reading.read(path)
        if force or (run.identity.fingerprint is not None and run.outcome == "failed"):
            written.remove(path)
        state = _state(path)
        if state != "finished":
            written.check_plain(path)
        if state == "new":
            written.remove(path)
            kept = _identified(without_secrets(config), content, own)
            write_atomically(path / CONFIG, yaml.safe_dump(kept, sort_keys=False))
        claimed = True
        for file in written.torn(path):
            file.unlink(missing_ok=True)
        yield RunFolder(path, own, state)
    except UserError:
        # A mistake that shows only now leaves nothing behind, unless there is something to go on from.
        if _state(path) == "new":
            if claimed:
                written.remove(path)
            if path in new_folders:
                # Still held: another process may have waited for it, and goes on in a folder of its own.
                (path / LOCK).unlink(missing_ok=True)
            lock.release()
            _remove(new_folders)
        raise
    finally:
        lock.release()


def check_place(path: Path) -> None:
    """UserError for a folder in which no run may start, whichever it is: it is no folder, or holds what is no run's."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file where a run's folder is needed; choose another run.dir.")
    if not path.exists() or written.is_empty(path):
        return
    run = reading.read(path)
    if run.identity.fingerprint is not None:
        return
    # Somebody else's config.yaml too: even run.force must not empty that folder.
    if run.damage and run.damage.file.name == CONFIG and (path / RESULT).exists():
        raise UserError(f"{run.damage}, so nothing says whose run it is; {reading.WAYS_OUT[CONFIG]}.")
    raise UserError(f"{path.absolute()} is not a run's folder and is not empty; choose another run.dir.")


def record_failure(path: Path, config: dict[str, Any], error: str) -> None:
    """Leave word of a run that failed before it had a folder, so that a sweep's table can tell of it.

    What a run at work, a finished one or a session of its own has left there stays.
    """
    if path.exists() and not (path / CONFIG).exists() and not written.is_empty(path):
        # It is not a run's, and nothing of ours belongs there.
        return
    try:
        with locks.held(path / LOCK, timeout=LOCK_SECONDS):
            if (path / RESULT).exists():
                return
            config, error = without_secrets_of_failed(config, error)
            if not (path / CONFIG).exists():
                identity = _identified(config, {}, NEVER_KNOWN)
                write_atomically(path / CONFIG, yaml.safe_dump(identity, sort_keys=False))
            arch, loss, data = (config[group]["name"] for group in ("arch", "loss", "data"))
            result = Result(
                name=path.name,
                arch=arch,
                loss=loss,
                data=data,
                status="failed",
                seed=config["seed"],
                fingerprint=NEVER_KNOWN,
                seconds=0.0,
                error=error,
                commit=commit(),
            )
            RunFolder(path, NEVER_KNOWN, "new").finish(result)
    except Timeout:
        return


def _refuse_others(path: Path, own: str, force: bool) -> None:
    """UserError where the folder holds anything but this run; a failed one holds nothing that is to be kept."""
    check_place(path)
    if force or not path.exists():
        return
    run = reading.read(path)
    recorded = run.identity.fingerprint
    if recorded not in (None, own) and run.outcome != "failed":
        raise UserError(
            f"{path} holds a run of another config (fingerprint {str(recorded)[:8]}, this one is {own[:8]}); "
            "choose another run.dir, or run.force=true to start over in it."
        )
    if run.result is None and (path / RESULT).exists():
        assert run.damage is not None, f"{path} is whole and has no result"
        raise UserError(run.damage.sentence)
    if run.damage and run.outcome in FINISHED:
        # Of what is gone nothing can go on, and "finished already" would hide it.
        raise UserError(run.damage.sentence)


def _identified(config: dict[str, Any], content: dict[str, str], own: str) -> dict[str, Any]:
    identity = {"fingerprint": own, "content": content, "left_out": left_out(config)}
    return config | {"identity": identity | {"version": __version__, "commit": commit()}}


def _state(path: Path) -> State:
    if reading.read(path).outcome in FINISHED:
        return "finished"
    started = (path / CONFIG).exists() and (path / CHECKPOINTS / "last.ckpt").exists()
    return "resume" if started else "new"


def _remove(new_folders: list[Path]) -> None:
    """Remove the folders that this process made, innermost first, while they are empty."""
    for folder in new_folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _is_row_before(line: str, epochs: int) -> bool:
    try:
        return int(json.loads(line)["epoch"]) < epochs
    except (ValueError, KeyError, TypeError):
        # A torn last line: the row was being written when the run was killed.
        return False
