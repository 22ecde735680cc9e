"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np

from lvm_lab.errors import UserError


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
