"""A lock in the folder that it guards, which may be taken away with it.

Whoever holds it may remove the folder: all else first, then the lock's file while it is still held, then the empty
folder. So nobody else gets in while anything is left to be removed. Who waits for a file that is removed never holds
it: filelock, from 3.30 on, takes no file that has lost its name, and removes none by itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock


@contextmanager
def held(file: Path, make: Callable[[], None] | None = None, timeout: float = -1) -> Iterator[None]:
    """`take`, for as long as the context lasts."""
    lock = take(file, make, timeout)
    try:
        yield
    finally:
        lock.release()


def take(file: Path, make: Callable[[], None] | None = None, timeout: float = -1) -> FileLock:
    """The lock, held. make: how its folder is made, if not by `make_folder`; timeout: in seconds, none if negative.

    Raises filelock's Timeout.
    """
    lock = FileLock(file)
    while not lock.is_locked:
        (make or (lambda: make_folder(file.parent)))()
        # Who held it may have removed the folder since. filelock makes it too, with exist_ok.
        with suppress(FileNotFoundError, FileExistsError):
            lock.acquire(timeout=timeout)
    return lock


def make_folder(folder: Path) -> None:
    """Make a folder that another process may remove at any moment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        # exist_ok would look twice, and raise for a folder that is gone at the second look.
        if _is_other(folder):
            raise


def _is_other(place: Path) -> bool:
    """Whether something lies there that is no folder."""
    try:
        return not stat.S_ISDIR(os.stat(place).st_mode)
    except FileNotFoundError:
        return place.is_symlink()
