"""Room for vectors on their way from a file to a store: on disk where they are many, and not in memory."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np

# Below this, memory is quicker and no machine feels it.
IN_MEMORY = 64 << 20


def room(shape: tuple[int, ...], dtype: np.dtype, near: Path | None) -> np.ndarray:
    """An array that is not filled yet; a large one lies in a file without a name, which goes with the array.

    near: the folder, there or not yet, on whose disk it may lie; None for memory alone. Raises OSError where that disk
    has no room.
    """
    size = math.prod(shape) * dtype.itemsize
    if near is None or size <= IN_MEMORY:
        return np.empty(shape, dtype=dtype)
    folder = next(place for place in (near.absolute(), *near.absolute().parents) if place.is_dir())
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            # A map of blocks that the disk turns out not to have kills the process where they are written.
            os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)
