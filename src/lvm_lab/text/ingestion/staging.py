"""Where an ingestion keeps its blocks until all are there: a folder beside the store, made to go on from.

Two kinds of locks lie in it. `lock` is held for moments, to take a shard, to publish and to drop; `shard-N.lock` by the
process that works on that shard, from where it is taken until the store is made or other shards are missing. A shard is
taken under `lock`, and blocks are dropped by a process that holds `lock` and the locks of all shards: nobody at work
loses a block, and nobody begins in a folder that is being dropped (`lvm_lab.locks`). Who holds a shard may wait for
`lock`; who holds `lock` waits for a shard LOCK_SECONDS at most, so that no two wait for each other. Whoever lets go of
a shard looks whether the store is there, and drops: the last one always does.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lvm_lab import __version__, locks
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.text.ingestion.shard import Shard

LOCK_SECONDS = 0.5
LOCK, SETTINGS = "lock", "settings.json"
VERSIONS = "versions"
# The lab's own names in the folder; anything else there is somebody's, and the folder is left alone.
OWN = re.compile(r"settings\.json|lock|store|shard-\d+(\.lock)?|\.settings\.json\.\d+")


class AtWork(UserError):
    """Another process works on a shard."""


@dataclass(frozen=True)
class Staging:
    """The folder of an ingestion of so many shards into `out`."""

    out: Path

    @property
    def folder(self) -> Path:
        return self.out.with_name(f".{self.out.name}.ingest")

    def shard(self, number: int) -> Shard:
        return Shard(self.folder / f"shard-{number}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Held for moments, to begin, and by the shard that publishes."""
        try:
            with locks.held(self.folder / LOCK, self._make):
                yield
        finally:
            # It is empty where it was dropped.
            with suppress(OSError):
                self.folder.rmdir()

    @contextmanager
    def working(self, number: int, settings: Mapping[str, Any], restart: bool) -> Iterator[Shard]:
        """A shard to work on, by this process alone. settings: what its vectors hang on.

        Raises AtWork where another process works on it, UserError where blocks of other settings lie there; restart:
        those go.
        """
        with ExitStack() as stack:
            with self.held():
                self._begin({**settings, VERSIONS: _versions()}, restart)
                # Before another process may begin: with restart it would throw away what this one is about to make.
                stack.enter_context(self._locked(self.folder / f"shard-{number}.lock"))
                shard = self.shard(number)
                shard.folder.mkdir(exist_ok=True)
                for torn in shard.folder.glob(".*"):
                    torn.unlink()
            yield shard

    def drop(self) -> None:
        """What is of no use any more; the caller holds the folder, and no other process a shard."""
        self._check()
        # First: blocks without settings are nobody's to go on from, should this process die here.
        (self.folder / SETTINGS).unlink(missing_ok=True)
        for item in [item for item in self.folder.iterdir() if item.name != LOCK]:
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item, ignore_errors=True)
            else:
                item.unlink(missing_ok=True)
        # Last: from here on another process may begin.
        (self.folder / LOCK).unlink(missing_ok=True)

    def drop_if_of(self, settings: Mapping[str, Any]) -> None:
        """What an ingestion of these settings left after its end; that of others is theirs, at work or not."""
        if not self.folder.exists():
            return
        with self.held(), suppress(AtWork), self._no_shard_at_work():
            file = self.folder / SETTINGS
            old = _read(file) if file.exists() else settings
            if _difference({key: value for key, value in old.items() if key != VERSIONS}, settings) is None:
                self.drop()

    def _begin(self, settings: Mapping[str, Any], restart: bool) -> None:
        file = self.folder / SETTINGS
        differing = _difference(_read(file), settings) if file.exists() else None
        if file.exists() and differing is None:
            return
        with self._no_shard_at_work():
            if differing is not None and not restart:
                is_version = differing.startswith(f"{VERSIONS}.")
                other, way = (VERSIONS, "install that one") if is_version else ("settings", "give its settings")
                raise UserError(
                    f"{self.folder} holds what an interrupted ingestion with other {other} has made ({differing}); "
                    f"{way} to go on, or restart=true to throw it away."
                )
            file.unlink(missing_ok=True)
            for folder in self.folder.glob("shard-*"):
                if folder.is_dir():
                    shutil.rmtree(folder)
            write_atomically(file, json.dumps(settings, indent=2))

    @contextmanager
    def _no_shard_at_work(self) -> Iterator[None]:
        """AtWork while another process works on any of the shards."""
        with ExitStack() as stack:
            for file in sorted(self.folder.glob("shard-*.lock")):
                stack.enter_context(self._locked(file))
            yield

    @contextmanager
    def _locked(self, file: Path) -> Iterator[None]:
        lock = FileLock(file)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            shard = file.stem.removeprefix("shard-")
            raise AtWork(
                f"another process is making {self.out} (shard {shard}); wait for it, or name another out."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _make(self) -> None:
        self._check()
        try:
            locks.make_folder(self.folder)
        except OSError as error:
            raise UserError(
                f"no folder can be made beside out={self.out} ({error.strerror or error}); name an out in a folder of "
                "yours."
            ) from error

    def _check(self) -> None:
        """UserError where the folder's name stands for something that the lab has not made."""
        try:
            # Looked at once: another process may drop it at any moment.
            names = None if self.folder.is_symlink() else os.listdir(self.folder)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            names = None
        if names is None:
            raise UserError(f"{self.folder} is no folder of the lab's; move it away, or name another out.")
        others = sorted(name for name in names if not OWN.fullmatch(name))
        if others:
            raise UserError(
                f"{self.folder} holds {others[0]}, which is not the lab's; move it away, or name another out."
            )


def _versions() -> dict[str, str | None]:
    """What the chunks of a text hang on besides the settings: other versions may cut the other half another way."""
    libraries: dict[str, str | None] = {name: None for name in ("sentencex", "markdown-it-py", "pyarrow")}
    for name in libraries:
        with suppress(PackageNotFoundError):
            libraries[name] = version(name)
    return {"lvm_lab": __version__, "python": platform.python_version(), **libraries}


def _read(file: Path) -> dict[str, Any]:
    try:
        node = json.loads(file.read_text())
    except ValueError:
        node = None
    return node if isinstance(node, dict) else {}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> str | None:
    """The first key in which two mappings differ, with both values; None where they are equal."""
    for key in sorted({*old, *new}):
        mine, theirs = old.get(key), new.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            if (deeper := _difference(mine, theirs, f"{path}{key}.")) is not None:
                return deeper
        elif mine != theirs:
            return f"{path}{key} {_short(mine)} there, {_short(theirs)} now"
    return None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
