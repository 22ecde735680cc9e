"""Promoted models on disk: a folder a model, its versions, a link a stage, a history; no torch.

A stage moves so that whoever looks at any moment finds the old version or the new one.

    registry/<name>/versions/<n>/     an export, never changed
    registry/<name>/production        a link to versions/<n>
    registry/<name>/history.jsonl     a line for each look at held-out parts and for each move
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from lvm_lab import locks
from lvm_lab.config.serving import NAME
from lvm_lab.errors import UserError
from lvm_lab.files import to_disk, write_atomically

VERSIONS, HISTORY, LOCK = "versions", "history.jsonl", ".lock"
# What a killed command left: a version that was being written, a link or a history that had not got its name yet.
TORN = re.compile(rf"\.(building|link|{re.escape(HISTORY)})\.\w+")

# What a line of the history is of. found: a move that a command was killed behind, noted by the next one.
Action = Literal["look", "promote", "rollback", "found"]
MOVES = ("promote", "rollback", "found")


@dataclass(frozen=True)
class Model:
    """One model of a registry, for reading; `at_work` gives what changes it."""

    folder: Path

    @classmethod
    def of(cls, registry: Path, name: str) -> Model:
        """Raises UserError for a name that is no plain one."""
        if not NAME.fullmatch(name):
            raise UserError(f"name={name} is no name of a model; take letters, digits, dots, - and _.")
        return cls(registry / name)

    def version(self, stage: str) -> str | None:
        """The version that a stage's link points at; None where there is none.

        Raises UserError where something else has the link's place, or the link leads elsewhere.
        """
        version = self.linked(stage)
        if version is not None and not self.place(version).is_dir():
            raise UserError(
                f"{self.folder / stage} points at {VERSIONS}/{version}, which is gone; bring that back, promote anew, "
                "or roll back."
            )
        return version

    def linked(self, stage: str) -> str | None:
        """`version`, whether that is there or gone, so that a stage can be moved away from one that is."""
        link = self.folder / stage
        if not os.path.lexists(link):
            return None
        target = os.readlink(link) if link.is_symlink() else ""
        version = target.removeprefix(f"{VERSIONS}/")
        if not link.is_symlink() or not version.isdecimal() or target == version:
            raise UserError(f"{link} is no link to a version of the registry's own; move it away.")
        return version

    def place(self, version: str) -> Path:
        return self.folder / VERSIONS / version

    def history(self) -> list[dict[str, Any]]:
        """Its lines, oldest first.

        Raises UserError for a line that cannot be read.
        """
        file = self.folder / HISTORY
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError) as error:
            raise UserError(f"{file} holds a line that is none of the registry's; mend it by hand.") from error

    def before(self, stage: str) -> str | None:
        """The version that a rollback of the stage brings back: the one that stood before the last promotion that has
        not been rolled back."""
        stack = _stack(self.history(), stage)
        return stack[-2] if len(stack) > 1 else None

    @contextmanager
    def at_work(self) -> Iterator[Work]:
        """What changes it, for one process at a time; what a killed one left is put in order first.

        Raises UserError where another process is at work.
        """
        try:
            with locks.held(self.folder / LOCK, timeout=0):
                work = Work(self.folder)
                work.mend()
                yield work
        except Timeout as error:
            raise UserError(f"another process is at work in {self.folder}; wait until it has ended.") from error


@dataclass(frozen=True)
class Work(Model):
    """A model of a registry under its lock."""

    def note(self, action: Action, **fields: Any) -> None:
        """One line more in the history, durably."""
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action} | fields
        lines = [json.dumps(one, allow_nan=False) for one in [*self.history(), line]]
        write_atomically(self.folder / HISTORY, "\n".join(lines) + "\n")
        to_disk(self.folder)

    @contextmanager
    def building(self) -> Iterator[Path]:
        """An empty folder, to be filled and then given to `add`; what is left of it goes."""
        place = Path(tempfile.mkdtemp(prefix=".building.", dir=self.folder))
        try:
            (place / "version").mkdir()
            yield place / "version"
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def add(self, place: Path) -> str:
        """A filled folder becomes the next version, whole and durably."""
        versions = self.folder / VERSIONS
        versions.mkdir(exist_ok=True)
        # A number that the history has is never given again, also where its folder was removed.
        noted = [line.get("version") for line in self.history()]
        names = [*(item.name for item in versions.iterdir()), *(str(one) for one in noted)]
        taken = [int(name) for name in names if name.isdecimal()]
        version = str(max(taken, default=0) + 1)
        for item in place.iterdir():
            to_disk(item)
        to_disk(place)
        os.rename(place, versions / version)
        to_disk(versions)
        to_disk(self.folder)
        return version

    def move(self, stage: str, version: str, action: Action, **fields: Any) -> None:
        """Have a stage's link point at a version, from one moment to the next, and note it.

        Raises UserError for a version that is gone.
        """
        before = self.linked(stage)
        if not self.place(version).is_dir():
            raise UserError(f"{self.place(version)} is gone; bring that back, or promote a run.")
        link = self.folder / f".link.{stage}"
        link.unlink(missing_ok=True)
        os.symlink(f"{VERSIONS}/{version}", link)
        os.replace(link, self.folder / stage)
        to_disk(self.folder)
        self.note(action, stage=stage, version=version, before=before, **fields)

    def mend(self) -> None:
        """Put in order what a killed command left: unfinished files go, a move that is not in the history is noted."""
        for item in [item for item in self.folder.iterdir() if TORN.fullmatch(item.name)]:
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()
        history = self.history()
        for stage in [item.name for item in self.folder.iterdir() if item.is_symlink()]:
            version, stack = self.linked(stage), _stack(history, stage)
            if version is not None and version != (stack[-1] if stack else None):
                self.note("found", stage=stage, version=version, before=stack[-1] if stack else None)


def _stack(history: list[dict[str, Any]], stage: str) -> list[str]:
    """The versions of a stage that a rollback may come back to, the present one last."""
    stack: list[str] = []
    for line in history:
        if line.get("stage") != stage or line["action"] not in MOVES:
            continue
        back = line["action"] != "promote" and line["version"] in stack
        stack = stack[: stack.index(line["version"]) + 1] if back else [*stack, line["version"]]
    return stack
