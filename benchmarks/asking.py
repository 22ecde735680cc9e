"""What asks a server in the benchmarks: one connection that is kept, and as little work as an answer allows."""

from __future__ import annotations

import asyncio
import json
import time

import numpy as np


def request(path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def as_json(context_LD: np.ndarray) -> bytes:
    body = json.dumps({"context_vectors": [[round(x, 6) for x in row] for row in context_LD.tolist()]})
    return request("/predict", body.encode(), {"Content-Type": "application/json"})


def as_bytes(context_LD: np.ndarray) -> bytes:
    shape = ",".join(map(str, context_LD.shape))
    headers = {"Content-Type": "application/octet-stream", "X-Shape": shape}
    return request("/predict", context_LD.astype("<f4").tobytes(), headers)


class Connection:
    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def ask(self, wire: bytes) -> tuple[int, float]:
        """(status, milliseconds)."""
        began = time.perf_counter()
        self._writer.write(wire)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(length)
        return int(head[9:12]), 1000 * (time.perf_counter() - began)


async def ready(port: int, path: str = "/health") -> None:
    """Returns once a server answers there."""
    while True:
        try:
            async with Connection(port) as connection:
                status, _ = await connection.ask(request(path, b"", method="GET"))
                if status == 200:
                    return
        except (OSError, asyncio.IncompleteReadError):
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
        async with Connection(port) as connection:
            while time.perf_counter() < ends:
                status, milliseconds = await connection.ask(wires[number % len(wires)])
                took.append(milliseconds)
                failures += status != 200
                number += 1

    began = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    return took, len(took) / (time.perf_counter() - began), failures
