"""Anonymous memory while training on a store of 300,000 x 768 float16 vectors, over what the imports take.

python benchmarks/memory.py [ROWS [SETTING ...]]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lvm_lab.commands import launch as cli
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents, write_store
from lvm_lab.jobs.training import train

LENGTH = 100


def anonymous_mib() -> float:
    """RssAnon of this process: what it allocated, without what it maps from files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


@contextmanager
def watched(every: float) -> Iterator[SimpleNamespace]:
    """Within it memory is looked at every so many seconds; `grown` is the most MiB that came to the start's."""
    peak, done = SimpleNamespace(grown=0.0), threading.Event()
    start = anonymous_mib()

    def watch() -> None:
        while not done.is_set():
            peak.grown = max(peak.grown, anonymous_mib() - start)
            time.sleep(every)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def make_store(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    raw = path.with_suffix(".raw.npy")
    vectors = np.lib.format.open_memmap(raw, mode="w+", dtype=np.float16, shape=(rows, 768))
    for start in range(0, rows, 10_000):
        part = rng.standard_normal((min(10_000, rows - start), 768), dtype=np.float32)
        vectors[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    names = [f"{i:06d}" for i in range(rows // LENGTH)]
    starts = np.arange(len(names), dtype=np.int64) * LENGTH
    documents = Documents(names, names, ["benchmark"] * len(names), starts, np.full(len(names), LENGTH))
    write_store(path, vectors, documents, EncoderContract(encoder="random", normalised=True))
    raw.unlink()


def main(rows: int, *settings: str) -> float:
    """The most MiB over the baseline; prints as it goes. settings: of the training, over those here."""
    folder = Path(tempfile.mkdtemp())
    try:
        make_store(folder / "store", rows)

        baseline = anonymous_mib()
        with watched(0.02) as peak:
            sys.argv = ["train", "data=npz", f"data.path={folder / 'store'}", "arch=mamba2", "arch.width=64"]
            sys.argv += ["trainer.max_epochs=1", "5cat=smoke", "logger=none", "device=cpu"]
            sys.argv += [f"run.dir={folder / 'run'}", f"run.cache={folder / 'cache'}", *settings]
            cli.launch("train", train)
        print(f"{rows} x 768 float16 ({rows * 768 * 2 / 2**20:.0f} MiB): RssAnon {baseline:.0f} MiB after the imports,")
        most = f"{baseline + peak.grown:.0f} MiB at the most while training and scoring"
        print(f"{most}: {peak.grown:.0f} MiB over the baseline")
        return float(peak.grown)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000, *sys.argv[2:])
