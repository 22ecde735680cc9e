"""`lvm-lab serve` under a steady load for minutes on end: failures, times and its memory, a line a minute.

    python benchmarks/serve_minutes.py RUN [MINUTES]

100 requests a second: /predict in binary and in JSON by turns, and each second a /predict_batch of 32.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import uvloop
from asking import as_bytes, as_json, metric, percentiles, ready, served, steady

import lvm_lab

RATE, PORT = 100, 8211


async def measure(dim: int, minutes: int) -> None:
    rng = np.random.default_rng(0)
    contexts = rng.normal(size=(64, 5, dim)).astype(np.float32)
    forms = [make(x_LD) for x_LD in contexts for make in (as_bytes, as_json)]
    batch = as_bytes(contexts[:32], "/predict_batch")

    def asked(turn: int) -> tuple[str, bytes]:
        return ("/predict_batch", batch) if turn % RATE == RATE - 1 else ("/predict", forms[turn % len(forms)])

    async def memory() -> str:
        return f"{await metric(PORT, 'process_resident_memory_bytes') / 2**20:.1f} MB"

    await ready(PORT)
    print(f"before: {await memory()}", flush=True)
    for minute in range(1, minutes + 1):
        took, failures = await steady(PORT, RATE, 60, asked)
        times = "; ".join(f"{path} {percentiles(took[path])}" for path in sorted(took))
        count = sum(map(len, took.values()))
        print(f"minute {minute}: {count} asked, {failures} failed; {times}; {await memory()}", flush=True)


def main() -> None:
    run, minutes = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with served(run, PORT):
        uvloop.run(measure(len(lvm_lab.load(Path(run)).mean_D), minutes))


if __name__ == "__main__":
    main()
