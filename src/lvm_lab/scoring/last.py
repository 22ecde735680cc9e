"""Keeps the last of what is costly to compute, since most runs of a sweep follow one another on equal data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Last(Generic[V]):
    """The value of the last key, made anew for another one."""

    def __init__(self) -> None:
        self.known: dict[str, V] = {}

    def get(self, key: str, make: Callable[[], V]) -> V:
        if key not in self.known:
            self.known = {key: make()}
        return self.known[key]
