"""Where an ingestion keeps its blocks until all are there: a folder beside the store, made to go on from."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lvm_lab import __version__
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.text.ingestion.block_file import Block

LOCK_SECONDS = 0.5
SETTINGS, DONE, BLOCK = "settings.json", "done.json", "block-{:06d}.npz"
VERSIONS = "versions"
# The lab's own names in the folder; anything else there is somebody's, and the folder is left alone.
OWN = re.compile(r"settings\.json|lock|store|shard-\d+(\.lock)?|\.settings\.json\.\d+")


class AtWork(UserError):
    """Another process works on a shard."""


@dataclass(frozen=True)
class Done:
    """What a shard leaves when its last block is there. skipped: what the reader left out, reason to number of
    documents, of all shards together. origins: where its sources' texts come from. writing: seconds of the last block;
    opening: those before the reader's first document.
    """

    blocks: int
    skipped: dict[str, int]
    origins: list[dict[str, str | None]]
    writing: float
    opening: float


@dataclass(frozen=True)
class Shard:
    """A shard's blocks. was_done: whether all were there when it was taken, and another process may publish them and
    drop the folder at any time."""

    folder: Path
    was_done: bool = False

    def kept(self) -> tuple[int, Block | None]:
        """(how many blocks are there, the last of them)."""
        count = 0
        while self._file(count).exists():
            count += 1
        return count, Block.read(self._file(count - 1), vectors=False) if count else None

    def blocks(self, vectors: bool = True) -> Iterator[Block]:
        """All of a shard that is done; vectors: as of `Block.read`."""
        done = self.done()
        assert done is not None, f"{self.folder} is not done"
        return (Block.read(self._file(number), vectors) for number in range(done.blocks))

    def write(self, number: int, block: Block) -> None:
        block.write(self._file(number))

    def finish(self, done: Done) -> None:
        write_atomically(self.folder / DONE, json.dumps(asdict(done)))

    def done(self) -> Done | None:
        file = self.folder / DONE
        try:
            return Done(**json.loads(file.read_text())) if file.exists() else None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{file} is damaged ({error}); delete the folder {self.folder.parent} and give the command again."
            ) from error

    def _file(self, number: int) -> Path:
        return self.folder / BLOCK.format(number)


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
        lock = FileLock(self.folder / "lock")
        while not lock.is_locked:
            self._check()
            self._make()
            # Who held it may have dropped the folder.
            with suppress(FileNotFoundError):
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

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
                # Nobody publishes now, nor before this process has finished a shard that is not done.
                shard = replace(shard, was_done=shard.done() is not None)
            yield shard

    def drop(self) -> None:
        """What is of no use any more."""
        self._check()
        # First: blocks without settings are nobody's to go on from, should this process die here.
        (self.folder / SETTINGS).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

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
        if file.exists():
            differing = _difference(_read(file), settings)
            if differing is None:
                return
            if not restart:
                is_version = differing.startswith(f"{VERSIONS}.")
                other, way = (VERSIONS, "install that one") if is_version else ("settings", "give its settings")
                raise UserError(
                    f"{self.folder} holds what an interrupted ingestion with other {other} has made ({differing}); "
                    f"{way} to go on, or restart=true to throw it away."
                )
        with self._no_shard_at_work():
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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"no folder can be made beside out={self.out} ({error.strerror or error}); name an out in a folder of "
                "yours."
            ) from error

    def _check(self) -> None:
        """UserError where the folder's name stands for something that the lab has not made."""
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise UserError(f"{self.folder} is no folder of the lab's; move it away, or name another out.")
        others = [file.name for file in self.folder.glob("*") if not OWN.fullmatch(file.name)]
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
