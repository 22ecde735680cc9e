"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from lvm_lab.errors import UserError

# A host (in brackets: of IPv6) and perhaps a port.
HOST = re.compile(r"(\[.*\]|[^:]*)(:\d+)?")


def write_atomically(file: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all, and durably.

    Raises UserError as `check_replaceable`.
    """
    check_replaceable(file)
    building = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(building, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(building, file)
    finally:
        building.unlink(missing_ok=True)


def write_report(file: Path, report: Any) -> None:
    """Write what a command found as JSON, in a folder that is made where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def check_replaceable(file: Path) -> None:
    """UserError for what is no plain file: a link would be lost, a pipe or a device replaced by a file."""
    if file.is_symlink():
        raise UserError(f"{file} is a symbolic link where a file is written; move it away, or name another place.")
    if file.exists() and not file.is_file():
        raise UserError(f"{file} is no file and cannot be written as one; move it away, or name another place.")


def write_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Write an .npz whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    write_atomically(file, held.getbuffer())


def sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def to_disk(path: Path) -> None:
    """A file's bytes, or a folder's list of names, safe from a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# The dtype and the shape of an array.
Layout = tuple[np.dtype, tuple[int, ...]]


class StreamedArrays:
    """Arrays that are written as they come, whole or not at all: an uncompressed .npz, or a folder of .npy files where
    `out` has no ending. Used as a context manager: an exception within leaves nothing.

    arrays: by name, each array's dtype and shape; rows are appended in order. Raises UserError for a name that stands
    for something already, unless `force` and it is a plain file.
    """

    def __init__(self, out: Path, arrays: Mapping[str, Layout], *, force: bool) -> None:
        check_free(out, force=force)
        self.out, self.arrays, self.force = out, arrays, force

    def __enter__(self) -> StreamedArrays:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._building = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", dir=self.out.parent))
        self._files: dict[str, BinaryIO] = {}
        try:
            self._begin()
        except BaseException:
            self._drop()
            raise
        return self

    def _begin(self) -> None:
        # Made by itself, so that it has the rights that a user's new folders have.
        self._parts = self._building / "parts"
        self._parts.mkdir()
        for name, (dtype, shape) in self.arrays.items():
            self._files[name] = (self._parts / f"{name}.npy").open("wb")
            header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(self._files[name], header)

    def append(self, **rows: np.ndarray) -> None:
        """The next rows of some arrays."""
        for name, values in rows.items():
            self._files[name].write(np.ascontiguousarray(values, self.arrays[name][0]).data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for file in self._files.values():
                    file.flush()
                    os.fsync(file.fileno())
                    file.close()
                self._publish()
        finally:
            self._drop()

    def _drop(self) -> None:
        for file in self._files.values():
            # What a full disk has no room for is of no use any more.
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._building, ignore_errors=True)

    def _publish(self) -> None:
        check_free(self.out, force=self.force)
        if not self.out.suffix:
            os.rename(self._parts, self.out)
            return
        whole = self._building / self.out.name
        with open(whole, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for part in [self._parts / f"{name}.npy" for name in self.arrays]:
                    archive.write(part, part.name)
                    # Not held twice for longer than it takes.
                    part.unlink()
            file.flush()
            os.fsync(file.fileno())
        os.replace(whole, self.out)


def check_free(out: Path, *, force: bool) -> None:
    """UserError unless arrays may be written to `out`: NAME.npz, or a folder's name without an ending."""
    if out.suffix not in ("", ".npz") or out.name in ("", ".."):
        raise UserError(f"{out} does not fit; name a file .npz, or a folder without an ending.")
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_file():
        what = "a link" if out.is_symlink() else "a folder" if out.is_dir() else "a pipe or a device"
        raise UserError(f"{out} is {what}, and nothing is written there; name another file.")
    if not out.suffix:
        raise UserError(f"{out} is a file where a folder is needed; name another one.")
    if not force:
        raise UserError(f"{out} exists already; name another file, or write over it with --force.")


def address(url: str) -> str:
    """A URL as messages and records have it: without a user's name and password, or a query."""
    scheme, separator, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    # A path may hold an @; behind what is no host and port, it ends a password with a / or ? in it.
    if "@" in authority:
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    elif not separator or not HOST.fullmatch(authority):
        rest = rest.rpartition("@")[2]
    return f"{scheme}{separator}{rest.partition('?')[0]}".rstrip("/")


def hide_users(words: str) -> str:
    """Somebody's words with every URL in them as `address` has it."""
    return re.sub(r"[\w+.-]+://[^\s'\"<>]+", lambda url: address(url[0]), words)
