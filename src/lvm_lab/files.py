"""Files written whole or not at all, and their digests."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np


def write_atomically(file: Path, content: str | bytes | memoryview) -> None:
    """Write a file whole or not at all, and durably."""
    building = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(building, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(building, file)
    finally:
        building.unlink(missing_ok=True)


def write_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Write an .npz whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **arrays)
    write_atomically(file, held.getbuffer())


def sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
