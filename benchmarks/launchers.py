"""What two workers bring over one, and what a run of a sweep costs beside its training, on small models.

python benchmarks/launchers.py [ROUNDS]    (2; each runs the week of LSTM and GRU at demo scale with either launcher)
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, spread

WEEK = ("-m", "schedule=hundred", "schedule.scale=demo", "schedule.week=1")
WORKERS = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def sweep(folder: Path, *launcher: str) -> tuple[float, float, int]:
    """Seconds of the whole command, seconds of its trainings together, and runs; the cache is warm."""
    command = [sys.executable, "-m", "lvm_lab.train", *WEEK, *launcher, f"schedule.dir={folder}"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    histories = list(folder.glob("*/history.jsonl"))
    training = sum(json.loads(line)["seconds"] for file in histories for line in file.read_text().splitlines())
    return seconds, training, len(histories)


def main(rounds: int) -> None:
    one, two, beside = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        sweep(Path(folder) / "warm", *WORKERS)
        for turn in range(rounds):
            seconds, training, runs = sweep(Path(folder) / f"basic-{turn}")
            one.append(seconds)
            beside.append((seconds - training) / runs)
            two.append(sweep(Path(folder) / f"joblib-{turn}", *WORKERS)[0])
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    print(f"{runs} runs, whole commands, import of torch included; {machine()}")
    print(f"basic {spread(one)} s, joblib with 2 workers {spread(two)} s: {spread(ratios)} times the throughput")
    print(f"basic: {statistics.median(beside):.1f} s a run beside its training (epochs with validation and judging)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
