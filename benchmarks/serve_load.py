"""What `lvm-lab serve` takes for a request: at a steady rate with /health beside it, and batched against one at a time.

    python benchmarks/serve_load.py RUN [SECONDS] [SETTING=VALUE...]

Server and load share the machine. CPU is the server's, a request. Prints the lines of docs/serve.md. At the steady rate
/health has turns of its own, one behind ten of /predict.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import uvloop
from asking import HEALTH, as_bytes, as_json, closed_loop, metric, percentiles, ready, served, steady

import lvm_lab

RATE, CLIENTS, PORT = 100, 64, 8210


async def measure(forms: dict[str, list[bytes]], batched: bool, seconds: float) -> dict[str, float]:
    await ready(PORT)
    a_second = {}
    for form, wires in forms.items():

        def asked(turn: int, wires: list[bytes] = wires) -> tuple[str, bytes]:
            return ("/health", HEALTH) if turn % 11 == 10 else ("/predict", wires[turn % len(wires)])

        await closed_loop(PORT, wires, 4, 0.5)
        if batched:
            took, failures = await steady(PORT, RATE * 1.1, seconds, asked)
            times = "; ".join(f"{path} {percentiles(took[path])}" for path in ("/predict", "/health"))
            print(f"{form:7s}{RATE} a second: {times}; {failures} failed", flush=True)
        before = await metric(PORT, "process_cpu_seconds_total")
        times_of_all, a_second[form], failures = await closed_loop(PORT, wires, CLIENTS, seconds)
        cpu = 1000 * (await metric(PORT, "process_cpu_seconds_total") - before) / len(times_of_all)
        words = "batched" if batched else "one at a time"
        rate = f"{a_second[form]:.0f}/s, {percentiles(times_of_all)}, CPU {cpu:.2f} ms"
        print(f"{form:7s}{CLIENTS} clients, {words}: {rate}; {failures} failed", flush=True)
    return a_second


def main() -> None:
    run, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    dim = len(lvm_lab.load(Path(run)).mean_D)
    rng = np.random.default_rng(0)
    contexts = [rng.normal(size=(5, dim)).astype(np.float32) for _ in range(64)]
    forms = {"binary": [as_bytes(x_LD) for x_LD in contexts], "JSON": [as_json(x_LD) for x_LD in contexts]}
    results = []
    for batched in (True, False):
        with served(run, PORT, *sys.argv[3:], *([] if batched else ["batch.most=1"])):
            results.append(uvloop.run(measure(forms, batched, seconds)))
    for form in forms:
        print(f"{form:7s}batched against one at a time: {results[0][form] / results[1][form]:.2f} times")


if __name__ == "__main__":
    main()
