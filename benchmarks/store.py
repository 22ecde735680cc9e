"""What a store costs: import, opening, windows, memory; and the field's own way, window copies in a compressed .npz.

python benchmarks/store.py [ROWS [WINDOWS]]     # a million and 100,000 for the table of docs/data.md

Each measurement runs in a process of its own, which says its memory before and at the most (RssAnon: what it allocated,
without what it maps from files).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from memory import watched

from lvm_lab.data.batches import WindowBatches
from lvm_lab.data.sampler import Draw

DIM, LENGTH, CONTEXT, BATCH, SECONDS = 768, 100, 5, 256, 5.0


def make_bank(file: Path, rows: int) -> None:
    """An article bank of unit float16 vectors, written block by block."""
    from lvm_lab.files import StreamedArrays

    rng = np.random.default_rng(0)
    half, whole = np.dtype(np.float16), np.dtype(np.int64)
    arrays = {"vectors": (half, (rows, DIM)), "article_indices": (whole, (rows,)), "chunk_indices": (whole, (rows,))}
    with StreamedArrays(file, arrays, force=False) as out:
        for first in range(0, rows, 10_000):
            x_ND = rng.standard_normal((min(10_000, rows - first), DIM), dtype=np.float32)
            x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
            row_N = np.arange(first, first + len(x_ND))
            out.append(vectors=x_ND, article_indices=row_N // LENGTH, chunk_indices=row_N % LENGTH)


def import_bank(folder: Path, _: int) -> dict[str, Any]:
    from lvm_lab.data.importers.npz import import_npz

    started = time.perf_counter()
    store = import_npz(folder / "bank.npz", folder / "cache", context_length=CONTEXT)
    seconds = time.perf_counter() - started
    (folder / "store").symlink_to(store.path)
    return {"seconds": seconds, "disk_mb": _disk(store.path)}


def open_it(folder: Path, _: int) -> dict[str, Any]:
    """By `data.path`: verified at the first opening, and remembered as verified."""
    from lvm_lab.config.data import DataSettings
    from lvm_lab.data.sources.npz import Npz

    source = Npz(path=str((folder / "store").resolve()))
    times = []
    for _ in range(4):
        started = time.perf_counter()
        source.open(folder / "cache", DataSettings())
        times.append(time.perf_counter() - started)
    return {"first_s": times[0], "seconds": min(times[1:])}


def open_bank(folder: Path, _: int) -> dict[str, Any]:
    """By the path of the .npz that was imported."""
    from lvm_lab.data.importers.npz import import_npz

    times = []
    for _ in range(3):
        started = time.perf_counter()
        import_npz(folder / "bank.npz", folder / "cache", context_length=CONTEXT)
        times.append(time.perf_counter() - started)
    return {"first_s": times[0], "seconds": min(times[1:])}


def windows_of_store(folder: Path, at_most: int) -> dict[str, Any]:
    from lvm_lab.data.store import open_store
    from lvm_lab.data.windows import index_windows

    store = open_store((folder / "store").resolve())
    documents = len(store.documents)
    if at_most:
        documents = min(documents, at_most // (LENGTH - CONTEXT))
    windows = index_windows(store, np.arange(documents), CONTEXT)

    batches = WindowBatches(windows)
    # From a warm cache: every page is read once.
    for first in range(0, len(store.vectors_ND), 65_536):
        np.asarray(store.vectors_ND[first : first + 65_536]).view(np.uint16).max()
    rate = _rate(lambda positions: batches[Draw(positions, (0,))], len(windows))
    return {"windows": len(windows), "per_second": rate}


def repeated(folder: Path, _: int) -> dict[str, Any]:
    from lvm_lab.data.repeated import repeated_rows
    from lvm_lab.data.store import open_store

    started = time.perf_counter()
    repeated_rows(open_store((folder / "store").resolve()))
    return {"seconds": time.perf_counter() - started}


def write_copies(folder: Path, at_most: int) -> dict[str, Any]:
    """Windows as people save them: every context and target copied, compressed."""
    vectors_ND = np.load(next((folder / "store").resolve().rglob("vectors.npy")), mmap_mode="r")
    documents = min(len(vectors_ND) // LENGTH, at_most // (LENGTH - CONTEXT))
    first_W = (np.arange(documents)[:, None] * LENGTH + np.arange(LENGTH - CONTEXT)).ravel()
    started = time.perf_counter()
    contexts = np.stack([vectors_ND[first : first + CONTEXT] for first in first_W])
    np.savez_compressed(folder / "copies.npz", contexts=contexts, targets=vectors_ND[first_W + CONTEXT])
    return {"seconds": time.perf_counter() - started, "disk_mb": (folder / "copies.npz").stat().st_size / 1e6}


def windows_of_copies(folder: Path, _: int) -> dict[str, Any]:
    started = time.perf_counter()
    with np.load(folder / "copies.npz") as npz:
        contexts, targets = npz["contexts"], npz["targets"]
    seconds = time.perf_counter() - started

    def gather(positions: np.ndarray) -> None:
        torch.from_numpy(contexts[positions]).float()
        torch.from_numpy(targets[positions]).float()

    return {"seconds": seconds, "windows": len(targets), "per_second": _rate(gather, len(targets))}


def _rate(gather: Callable[[np.ndarray], object], windows: int) -> float:
    """Windows per second in batches drawn anywhere, the median of five spells."""
    rng, rates = np.random.default_rng(0), []
    for _ in range(5):
        drawn, started = 0, time.perf_counter()
        while time.perf_counter() - started < SECONDS / 5:
            gather(rng.integers(windows, size=BATCH))
            drawn += BATCH
        rates.append(drawn / (time.perf_counter() - started))
    return float(np.median(rates))


def _disk(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


STEPS = {
    step.__name__: step
    for step in (import_bank, open_it, open_bank, windows_of_store, repeated, write_copies, windows_of_copies)
}


def measured(step: str, folder: Path, number: int = 0) -> dict[str, Any]:
    """A step in a process of its own; `grown_mib`: the most memory over that at its start, imports included."""
    arguments = [sys.executable, __file__, "--step", step, str(folder), str(number)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(step, {name: round(value, 4) for name, value in numbers.items()}, flush=True)
    return numbers


def main(rows: int = 1_000_000, windows: int = 100_000) -> None:
    # Not where a temporary file system would hold it in memory.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        make_bank(folder / "bank.npz", rows)
        taken = measured("import_bank", folder)
        # What was written in the last seconds is not remembered as verified.
        time.sleep(3)
        opened, imported = measured("open_it", folder), measured("open_bank", folder)
        all_windows = measured("windows_of_store", folder)
        repeated = measured("repeated", folder)
        few = measured("windows_of_store", folder, windows)
        written, copies = measured("write_copies", folder, windows), measured("windows_of_copies", folder)
        print(f"\n| {rows:,} x {DIM} float16 | | anonymous memory |\n|---|---|---|")
        print(f"| import of the `.npz` | {taken['seconds']:.0f} s | {taken['grown_mib']:.0f} MiB |")
        print(f"| first opening, every byte verified | {opened['first_s']:.2f} s | {opened['grown_mib']:.0f} MiB |")
        print(f"| opening from then on | {opened['seconds']:.3f} s | |")
        print(f"| opening by the `.npz` | {imported['seconds']:.3f} s | {imported['grown_mib']:.0f} MiB |")
        rate = f"{all_windows['per_second']:,.0f} windows a second"
        print(f"| batches of {BATCH} | {rate} | {all_windows['grown_mib']:.0f} MiB |")
        print(f"| repeated chunks | {repeated['seconds']:.0f} s | {repeated['grown_mib']:.0f} MiB |")
        print(f"\n| {copies['windows']:,} windows | store | copies, compressed |\n|---|---|---|")
        share = taken["disk_mb"] * copies["windows"] / all_windows["windows"]
        print(f"| disk | {share:.0f} MB | {written['disk_mb']:.0f} MB |")
        print(f"| opening | {opened['seconds']:.3f} s | {copies['seconds']:.1f} s |")
        print(f"| anonymous memory | {few['grown_mib']:.0f} MiB | {copies['grown_mib']:.0f} MiB |")
        print(f"| windows a second | {few['per_second']:,.0f} | {copies['per_second']:,.0f} |")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        with watched(0.02) as peak:
            result = STEPS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))
        print(json.dumps(result | {"grown_mib": peak.grown}))
    else:
        main(*(int(number) for number in sys.argv[1:]))
