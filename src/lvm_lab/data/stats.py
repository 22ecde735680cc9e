"""Per-dimension statistics of a part's vectors, read from the mmap in slices."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lvm_lab.config.settings import NormaliserName
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError
from lvm_lab.files import write_arrays
from lvm_lab.types import Stats

SAMPLE = 50_000


def training_stats(store: Store, stretches: np.ndarray, cache: Path, normaliser: NormaliserName = "none") -> Stats:
    """mean and std (population) over all vectors of the given stretches, cached by content and split.

    With a normaliser also its centre, scale and basis. standard: mean and std; robust: median and IQR / 1.349
    (the std of a normal distribution of that IQR), as the Large Concept Model has it; whiten: the mean and the
    covariance's directions and stds. The last two look at a seeded sample of at most 50,000 vectors.
    """
    stats = _moments(store, stretches, cache)
    if normaliser == "none":
        return stats
    if normaliser == "standard":
        return replace(stats, centre_D=stats.mean_D, scale_D=stats.std_D)
    file = cache / f"{normaliser}-{_key(store, stretches)}.npz"
    if not file.exists():
        fit = _robust if normaliser == "robust" else _whitening
        write_arrays(file, **{name: x.astype(np.float32) for name, x in fit(_sample(store, stretches)).items()})
    with np.load(file, allow_pickle=False) as saved:
        return replace(stats, **{name: torch.from_numpy(saved[name]) for name in saved.files})


def _robust(x_ND: np.ndarray) -> dict[str, np.ndarray]:
    low_D, median_D, high_D = np.percentile(x_ND, [25, 50, 75], axis=0)
    scale_D = (high_D - low_D) / 1.349
    return {"centre_D": median_D, "scale_D": np.maximum(scale_D, 1e-3 * max(float(np.median(scale_D)), 1e-6))}


def _whitening(x_ND: np.ndarray) -> dict[str, np.ndarray]:
    """Directions that the data hardly takes are held at a hundredth of the typical spread, not blown up."""
    mean_D = x_ND.mean(0)
    power_D, basis_DD = np.linalg.eigh(np.cov(x_ND - mean_D, rowvar=False, bias=True))
    floor = max(1e-2 * float(np.sqrt(max(power_D.mean(), 0))), 1e-6)
    return {"centre_D": mean_D, "scale_D": np.maximum(np.sqrt(np.maximum(power_D, 0)), floor), "basis_DD": basis_DD}


def _sample(store: Store, stretches: np.ndarray) -> np.ndarray:
    starts, lengths = store.documents.start[stretches], store.documents.length[stretches]
    rows_N = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
    if len(rows_N) > SAMPLE:
        rows_N = np.sort(np.random.default_rng(0).choice(rows_N, SAMPLE, replace=False))
    return store.vectors_ND[rows_N].astype(np.float64)


def _key(store: Store, stretches: np.ndarray) -> str:
    return hashlib.sha256(store.content.encode() + np.sort(stretches).astype(np.int64).tobytes()).hexdigest()[:32]


def _moments(store: Store, stretches: np.ndarray, cache: Path) -> Stats:
    file = cache / f"stats-{_key(store, stretches)}.npz"
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
    if not std.any():
        raise UserError("all vectors of the training part are equal; encode the documents again.")
    std = np.maximum(std, 1e-3 * max(float(np.median(std)), 1e-6))
    mean32, std32 = (mean + origin).astype(np.float32), std.astype(np.float32)
    write_arrays(file, mean=mean32, std=std32)
    return Stats(torch.from_numpy(mean32), torch.from_numpy(std32))
