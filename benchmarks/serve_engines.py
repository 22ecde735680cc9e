"""`/predict` of one run by `lvm-lab serve` and by LitServe, in turn: what docs/serve.md says of the two.

pip install litserve
python benchmarks/serve_engines.py RUN
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import uvloop
from asking import as_json, closed_loop, percentiles, ready

import lvm_lab

PORTS = {"lvm-lab serve": 8201, "LitServe": 8202}
ROUNDS, SECONDS = 3, 4.0


async def measure(run: str) -> None:
    dim = len(lvm_lab.load(run).mean_D)
    rng = np.random.default_rng(0)
    wires = [as_json(rng.normal(size=(5, dim)).astype(np.float32)) for _ in range(32)]
    for port in PORTS.values():
        await ready(port)
    for clients in (1, 16):
        for number in range(ROUNDS):
            for name, port in PORTS.items():
                took, a_second, failures = await closed_loop(port, wires, clients, 1.0 if number == 0 else SECONDS)
                if number:
                    times = f"{percentiles(took)}, {a_second:.0f}/s"
                    print(f"{clients:3d} clients  {name:14s}{times}, {failures} failed", flush=True)


def main() -> None:
    run = sys.argv[1]
    ours = [sys.executable, "-m", "lvm_lab.serve", f"checkpoint={run}", f"port={PORTS['lvm-lab serve']}"]
    theirs = [sys.executable, str(Path(__file__).with_name("litserve_app.py")), run, str(PORTS["LitServe"])]
    servers = [subprocess.Popen(command) for command in (ours, theirs)]
    began = time.perf_counter()
    try:
        uvloop.run(measure(run))
    finally:
        for server in servers:
            server.terminate()
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
