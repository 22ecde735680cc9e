"""What `lvm-lab serve` takes for a request: at a steady rate with /health beside it, and batched against one at a time.

    python benchmarks/serve_load.py RUN [SECONDS]

Server and load share the machine. CPU is the server's, a request. Prints the lines of docs/serve.md.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from asking import Connection, as_bytes, as_json, closed_loop, percentiles, ready, request

import lvm_lab

RATE, CLIENTS, PORT = 100, 64, 8210
HEALTH = request("/health", b"", method="GET")


async def steady(port: int, wires: list[bytes], seconds: float) -> tuple[list[float], list[float], int]:
    """Requests at RATE a second, however long each takes: (milliseconds, those of /health, failures)."""
    took: list[float] = []
    health: list[float] = []
    failures = 0
    free: asyncio.Queue[Connection] = asyncio.Queue()

    async def one(wire: bytes, into: list[float]) -> None:
        nonlocal failures
        due = time.perf_counter()
        connection = free.get_nowait() if not free.empty() else await Connection(port).__aenter__()
        status, _ = await connection.ask(wire)
        into.append(1000 * (time.perf_counter() - due))
        failures += status != 200
        free.put_nowait(connection)

    began, tasks = time.perf_counter(), []
    for number in range(int(RATE * seconds)):
        await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        tasks.append(asyncio.create_task(one(wires[number % len(wires)], took)))
        if number % 10 == 0:
            tasks.append(asyncio.create_task(one(HEALTH, health)))
    await asyncio.gather(*tasks)
    while not free.empty():
        await free.get_nowait().__aexit__()
    return took, health, failures


async def cpu_seconds(port: int) -> float:
    """Those of the server so far, which others on the machine change less than its latency."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/metrics", b"", {"Connection": "close"}, "GET"))
    text = (await reader.read()).decode()
    writer.close()
    return float(re.findall(r"^process_cpu_seconds_total (\S+)", text, re.MULTILINE)[0])


async def measure(forms: dict[str, list[bytes]], batched: bool, seconds: float) -> dict[str, float]:
    await ready(PORT)
    a_second = {}
    for form, wires in forms.items():
        await closed_loop(PORT, wires, 4, 0.5)
        if batched:
            took, health, failures = await steady(PORT, wires, seconds)
            print(f"{form:7s}{RATE} a second: {percentiles(took)}; /health {percentiles(health)}; {failures} failed")
        before = await cpu_seconds(PORT)
        took, a_second[form], failures = await closed_loop(PORT, wires, CLIENTS, seconds)
        cpu = 1000 * (await cpu_seconds(PORT) - before) / len(took)
        words = "batched" if batched else "one at a time"
        rate = f"{a_second[form]:.0f}/s, {percentiles(took)}, CPU {cpu:.2f} ms"
        print(f"{form:7s}{CLIENTS} clients, {words}: {rate}; {failures} failed")
    return a_second


def main() -> None:
    run, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    dim = len(lvm_lab.load(Path(run)).mean_D)
    rng = np.random.default_rng(0)
    contexts = [rng.normal(size=(5, dim)).astype(np.float32) for _ in range(64)]
    forms = {"binary": [as_bytes(x_LD) for x_LD in contexts], "JSON": [as_json(x_LD) for x_LD in contexts]}
    results = []
    for batched in (True, False):
        most = [] if batched else ["batch.most=1"]
        command = [sys.executable, "-m", "lvm_lab.serve", f"checkpoint={run}", f"port={PORT}", "device=cpu", *most]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            results.append(asyncio.run(measure(forms, batched, seconds)))
        finally:
            server.terminate()
            server.wait()
    for form in forms:
        print(f"{form:7s}batched against one at a time: {results[0][form] / results[1][form]:.2f} times")


if __name__ == "__main__":
    main()
