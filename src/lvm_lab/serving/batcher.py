"""Contexts of many requests in one call of a model, by a thread of the model's own.

Shape suffixes: B contexts, L context length, D vector dim, S steps.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch

from lvm_lab.config.serving import BatchSettings
from lvm_lab.serving.refusal import Refusal

# context_BLD to raw_BD and unit_BD.
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# (raw_SD, unit_SD).
Rollout = tuple[np.ndarray, np.ndarray]


@dataclass
class _Job:
    """A context and what was predicted for it so far."""

    context_LD: np.ndarray
    steps: int
    answer: Future[Rollout]
    arrived: float
    raw_SD: list[np.ndarray] = field(default_factory=list)
    unit_SD: list[np.ndarray] = field(default_factory=list)


class Batcher:
    """Contexts of one length go to the model together, since it reads none that is padded: of those that wait, all of
    the length that waits longest. A rollout is asked step by step among the others, which it does not hold up.

    feeds_unit: whether a step feeds back the unit vector, and not raw. longest: vectors that the model reads at most.
    waiting: contexts that may wait. observe: is told the size of each batch. threads: of torch.
    """

    def __init__(
        self,
        predict: Predict,
        settings: BatchSettings,
        *,
        feeds_unit: bool,
        longest: int,
        waiting: int,
        threads: int = 1,
        observe: Callable[[int], None] = lambda size: None,
        name: str = "model",
    ) -> None:
        self._predict, self._settings, self._observe = predict, settings, observe
        self._feeds_unit, self._longest, self._most_waiting, self._threads = feeds_unit, longest, waiting, threads
        self._by_length: dict[int, deque[_Job]] = {}
        self._waiting, self._closed = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"batches of {name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._waiting

    def submit(self, contexts: list[np.ndarray], steps: int = 1) -> list[Future[Rollout]]:
        """For each context (L x D, float32) what follows it. All of them wait, or none.

        Raises Refusal where too many wait. A future that is cancelled is not computed.
        """
        now = time.monotonic()
        jobs = [_Job(context_LD, steps, Future(), now) for context_LD in contexts]
        with self._changed:
            assert not self._closed, "nobody holds a model that was closed"
            if self._waiting + len(jobs) > self._most_waiting:
                raise Refusal(503, "the model has more to do than it can wait for; ask again in a second.")
            for job in jobs:
                self._put(job)
            self._changed.notify()
        return [job.answer for job in jobs]

    def close(self) -> None:
        """What waits is still answered; returns when it is."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _put(self, job: _Job) -> None:
        self._by_length.setdefault(len(job.context_LD), deque()).append(job)
        self._waiting += 1

    def _work(self) -> None:
        # Of each thread its own.
        torch.set_num_threads(self._threads)
        while batch := self._next():
            self._observe(len(batch))
            try:
                raw_BD, unit_BD = self._predict(np.stack([job.context_LD for job in batch]))
            except Exception as error:
                for job in batch:
                    job.answer.set_exception(error)
                continue
            self._hand_out(batch, raw_BD, unit_BD)

    def _next(self) -> list[_Job]:
        """The next batch; none at the end."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                length = min(self._by_length, key=lambda one: self._by_length[one][0].arrived)
                queue = self._by_length[length]
                self._gather(queue)
                batch = [queue.popleft() for _ in range(min(len(queue), self._settings.most))]
                if not queue:
                    del self._by_length[length]
                self._waiting -= len(batch)
                # A step of a rollout that goes on is running already.
                if batch := [job for job in batch if job.raw_SD or job.answer.set_running_or_notify_cancel()]:
                    return batch

    def _gather(self, queue: deque[_Job]) -> None:
        """Let others come to the first, for as long as the settings say."""
        ends = queue[0].arrived + self._settings.wait_ms / 1000
        while len(queue) < self._settings.most and not self._closed and (left := ends - time.monotonic()) > 0:
            self._changed.wait(left)

    def _hand_out(self, batch: list[_Job], raw_BD: np.ndarray, unit_BD: np.ndarray) -> None:
        going_on = []
        finite_B = np.isfinite(raw_BD).all(axis=1) & np.isfinite(unit_BD).all(axis=1)
        for job, raw_D, unit_D, finite in zip(batch, raw_BD, unit_BD, finite_B, strict=True):
            job.raw_SD.append(raw_D)
            job.unit_SD.append(unit_D)
            if not finite:
                job.answer.set_exception(
                    Refusal(422, "the model predicts what is not finite; give vectors like those of its encoder.")
                )
            elif len(job.raw_SD) == job.steps:
                job.answer.set_result((np.stack(job.raw_SD), np.stack(job.unit_SD)))
            else:
                fed_D = unit_D if self._feeds_unit else raw_D
                job.context_LD = np.concatenate([job.context_LD, fed_D[None]])[-self._longest :]
                job.arrived = time.monotonic()
                going_on.append(job)
        with self._changed:
            for job in going_on:
                self._put(job)
