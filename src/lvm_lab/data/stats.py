"""Per-dimension statistics of a part's vectors, read from the mmap in slices."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from lvm_lab.data.store import Store
from lvm_lab.types import Stats


def training_stats(store: Store, stretches: np.ndarray, cache: Path) -> Stats:
    """mean and std (population) over all vectors of the given stretches, cached by content and split."""
    key = hashlib.sha256(store.content.encode() + np.sort(stretches).astype(np.int64).tobytes()).hexdigest()
    file = cache / f"stats-{key[:32]}.npz"
    if file.exists():
        with np.load(file, allow_pickle=False) as saved:
            return Stats(torch.from_numpy(saved["mean"]), torch.from_numpy(saved["std"]))
    total = np.zeros(store.dim)
    squares = np.zeros(store.dim)
    # The sums run around one vector, so that a large common mean costs no digits of the variance.
    origin = store.vectors_ND[store.documents.start[stretches[0]]].astype(np.float64)
    count = 0
    for stretch in stretches:
        start = int(store.documents.start[stretch])
        end = start + int(store.documents.length[stretch])
        for first in range(start, end, 8192):
            x = store.vectors_ND[first : min(first + 8192, end)].astype(np.float64) - origin
            total += x.sum(0)
            squares += np.square(x).sum(0)
            count += len(x)
    mean = total / count
    # A dimension that never moves would divide by zero; a thousandth of the typical spread stands in.
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std = np.maximum(std, 1e-3 * max(float(np.median(std)), 1e-6))
    mean32, std32 = (mean + origin).astype(np.float32), std.astype(np.float32)
    write_arrays(file, mean=mean32, std=std32)
    return Stats(torch.from_numpy(mean32), torch.from_numpy(std32))


def write_arrays(file: Path, **arrays: np.ndarray) -> None:
    """Write an .npz whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as out:
            np.savez(out, allow_pickle=False, **arrays)
        os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)
