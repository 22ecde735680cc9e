"""How numbers are written for people, each kind in one way; what has no value is an empty text; no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeGuard

# Below this a number with fixed places would show next to nothing of itself.
SMALL = 0.01
# Below half of the last of three places it would show as nothing.
NOTHING = 5e-4

Bounds = Sequence[float | None] | None
Written = Callable[[float | None], str]


def fixed(value: float | None, digits: int = 3) -> str:
    """0.123"""
    return "" if value is None else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """Three places, or three digits of a small number: 0.123, 0.00123."""
    return fixed(value) if value is None or abs(value) >= SMALL or value == 0 else f"{value:.3g}"


def scientific(value: float | None) -> str:
    """Three places, or a power of ten where those would be 0.000."""
    return f"{value:.1e}" if value and abs(value) < NOTHING else fixed(value)


def signed(value: float | None) -> str:
    """+0.123"""
    return "" if value is None else f"{value:+.3f}"


def percent(value: float | None, digits: int = 0) -> str:
    """12%"""
    return "" if value is None else f"{value:.{digits}%}"


def whole(value: int | None) -> str:
    """1,234"""
    return "" if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """1 document, 1,234 documents"""
    return f"{whole(value)} {noun}{'' if value == 1 else 's'}"


def interval(bounds: Bounds, write: Written = fixed) -> str:
    """0.100 .. 0.200, in the form that `write` gives a number."""
    return f"{write(bounds[0])} .. {write(bounds[1])}" if known(bounds) else ""


def with_interval(value: float | None, bounds: Bounds, write: Written = short) -> str:
    """0.123 (0.100 .. 0.200)"""
    between = interval(bounds, write)
    return f"{write(value)} ({between})" if between and value is not None else write(value)


def known(bounds: Bounds) -> TypeGuard[Sequence[float]]:
    """Whether an interval has two ends that are numbers."""
    return bounds is not None and all(bound is not None and not math.isnan(bound) for bound in bounds)
