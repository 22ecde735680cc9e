"""What asks a server in the benchmarks: one connection that is kept, and as little work as an answer allows."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np


def request(path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


HEALTH = request("/health", b"", method="GET")


def as_json(context_LD: np.ndarray) -> bytes:
    body = json.dumps({"context_vectors": [[round(x, 6) for x in row] for row in context_LD.tolist()]})
    return request("/predict", body.encode(), {"Content-Type": "application/json"})


def as_bytes(context_LD: np.ndarray, path: str = "/predict") -> bytes:
    shape = ",".join(map(str, context_LD.shape))
    headers = {"Content-Type": "application/octet-stream", "X-Shape": shape}
    return request(path, context_LD.astype("<f4").tobytes(), headers)


class Connection(asyncio.Protocol):
    """One that asks again once it was answered. Streams would take as long as the server's own part of an answer."""

    def __init__(self) -> None:
        self._received, self._length = bytearray(), 0
        self.closed = False
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._length:
            head, separator, _ = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            assert length is not None, head
            self._length = len(head) + len(separator) + int(length[1])
        if len(self._received) >= self._length:
            answer = bytes(self._received)
            self._received.clear()
            self._length = 0
            assert self._answer is not None, "nothing was asked"
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("it was closed before it was answered"))

    async def fetch(self, wire: bytes) -> tuple[int, bytes]:
        """(status, body)."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(wire)
        answer = await self._answer
        return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]

    async def ask(self, wire: bytes) -> tuple[int, float]:
        """(status, milliseconds)."""
        began = time.perf_counter()
        status, _ = await self.fetch(wire)
        return status, 1000 * (time.perf_counter() - began)

    def close(self) -> None:
        self._transport.close()


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def ready(port: int) -> None:
    """Returns once a server answers there."""
    while True:
        try:
            connection = await connect(port)
            status, _ = await connection.ask(HEALTH)
            connection.close()
            if status == 200:
                return
        except OSError:
            pass
        await asyncio.sleep(0.2)


def percentiles(milliseconds: list[float]) -> str:
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def closed_loop(port: int, wires: list[bytes], clients: int, seconds: float) -> tuple[list[float], float, int]:
    """Clients that each ask again as soon as they are answered: (milliseconds, answers a second, failures)."""
    took: list[float] = []
    failures, ends = 0, time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal failures
        connection = await connect(port)
        while time.perf_counter() < ends:
            status, milliseconds = await connection.ask(wires[number % len(wires)])
            took.append(milliseconds)
            failures += status != 200
            number += 1
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return took, len(took) / (time.perf_counter() - began), failures


async def steady(
    port: int, rate: float, seconds: float, asked: Callable[[int], tuple[str, bytes]]
) -> tuple[dict[str, list[float]], int]:
    """A request a turn, however long others take: (milliseconds by kind, failures). rate: turns a second. asked: the
    kind and the request of a turn, from whose beginning its time counts."""
    took: dict[str, list[float]] = {}
    failures = 0
    free: list[Connection] = []

    async def one(kind: str, wire: bytes) -> None:
        nonlocal failures
        due = time.perf_counter()
        try:
            while free and free[-1].closed:
                free.pop()
            connection = free.pop() if free else await connect(port)
            status, _ = await connection.ask(wire)
        except OSError:
            failures += 1
            return
        took.setdefault(kind, []).append(1000 * (time.perf_counter() - due))
        failures += status != 200
        free.append(connection)

    began, tasks = time.perf_counter(), set[asyncio.Task[None]]()
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + turn / rate - time.perf_counter()))
        tasks.add(asyncio.create_task(one(*asked(turn))))
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return took, failures


async def metric(port: int, name: str) -> float:
    """One of the server's own, of /metrics."""
    connection = await connect(port)
    _, text = await connection.fetch(request("/metrics", b"", method="GET"))
    connection.close()
    return float(re.findall(rf"^{name} (\S+)", text.decode(), re.MULTILINE)[0])


@contextmanager
def served(run: str, port: int, *settings: str) -> Iterator[None]:
    """`lvm-lab serve` with a run, on the CPU."""
    command = [sys.executable, "-m", "lvm_lab.serve", f"checkpoint={run}", f"port={port}", "device=cpu", *settings]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()
