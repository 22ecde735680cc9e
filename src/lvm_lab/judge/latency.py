"""How long a prediction takes, and how many come a second.

Shape suffixes: B windows, L context length, D vector dim.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvm_lab.types import Predictor

BATCH_SIZES = (1, 64)
WARM_UP, CALLS, FEWEST_CALLS = 5, 200, 20
SECONDS = 5.0
THROUGHPUT_BATCH, THROUGHPUT_CALLS = 1024, 5


def latency(
    predictor: Predictor,
    context_BLD: np.ndarray,
    device: str | torch.device = "cpu",
    *,
    batch_sizes: tuple[int, ...] = BATCH_SIZES,
    calls: int = CALLS,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Milliseconds a call (p50, p99) by batch size, and windows a second at the larger batch that judges use.

    The clock runs from a batch that lies on the device to a prediction that is ready there, after 5 calls to warm up.
    So many calls are timed, or as many as fit into so many seconds, but at least 20 (a p99 of few is their slowest:
    `calls` says how many). context_BLD is repeated where a batch is longer. Raises ValueError for no context.
    """
    if len(context_BLD) == 0:
        raise ValueError("latency needs a context to predict from")
    numbers: dict[str, Any] = {}
    with torch.inference_mode():
        for size in batch_sizes:
            times = _times(predictor, _batch(context_BLD, size, device), calls, FEWEST_CALLS, seconds)
            milliseconds = 1000 * np.array(times)
            p50, p99 = np.percentile(milliseconds, [50, 99])
            numbers[f"batch_{size}"] = {"p50_ms": float(p50), "p99_ms": float(p99), "calls": len(milliseconds)}
        batch_BLD = _batch(context_BLD, THROUGHPUT_BATCH, device)
        seconds_each = np.array(_times(predictor, batch_BLD, THROUGHPUT_CALLS, 1, seconds))
    return numbers | {"windows_per_second": float(len(batch_BLD) / np.median(seconds_each))}


def side_by_side(calls: Mapping[str, Callable[[], object]], count: int = CALLS) -> dict[str, dict[str, float]]:
    """Milliseconds of each call (p50, p99), by name, in turn, so that all share the machine's good and bad moments.

    Each is called 5 times to warm up, then `count` times, or as often as 5 seconds allow and at least 20 times.
    """
    with torch.inference_mode():
        for call in calls.values():
            for _ in range(WARM_UP):
                call()
        times: dict[str, list[float]] = {name: [] for name in calls}
        beginning = time.perf_counter()
        for turn in range(count):
            if turn >= FEWEST_CALLS and time.perf_counter() - beginning > SECONDS:
                break
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(1000 * (time.perf_counter() - start))
    pairs = {name: np.percentile(milliseconds, [50, 99]) for name, milliseconds in times.items()}
    return {name: {"p50_ms": float(p50), "p99_ms": float(p99)} for name, (p50, p99) in pairs.items()}


def _batch(context_BLD: np.ndarray, size: int, device: str | torch.device) -> Tensor:
    places = np.arange(size) % len(context_BLD)
    return torch.from_numpy(np.ascontiguousarray(context_BLD[places], dtype=np.float32)).to(device)


def _times(predictor: Predictor, batch_BLD: Tensor, calls: int, fewest: int, seconds: float) -> list[float]:
    ready = _waiter(batch_BLD.device)
    beginning = time.perf_counter()
    for _ in range(WARM_UP):
        predictor(batch_BLD)
        ready()
        if time.perf_counter() - beginning > seconds:
            break
    times: list[float] = []
    beginning = time.perf_counter()
    while len(times) < fewest or (len(times) < calls and time.perf_counter() - beginning < seconds):
        start = time.perf_counter()
        predictor(batch_BLD)
        ready()
        times.append(time.perf_counter() - start)
    return times


def _waiter(device: torch.device) -> Callable[[], None]:
    """Waits until the device has done all its work."""
    if device.type == "cuda":
        return torch.cuda.synchronize
    if device.type == "mps":
        return torch.mps.synchronize
    return lambda: None
