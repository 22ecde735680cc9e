"""Texts to batches of equal work: each distinct text once, sorted by length, cut by the tokens that a batch holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def distinct(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """(each text once, in order of appearance; for every text its place among them, (N,) int64)."""
    place: dict[str, int] = {}
    places_N = np.array([place.setdefault(text, len(place)) for text in texts], dtype=np.int64)
    return list(place), places_N


def cut(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Places of texts in batches, longest first.

    lengths: tokens of each text. budget: the most tokens of a batch with its padding; one text alone may have more. Of
    equally long texts the earlier is first, so that the same lengths give the same batches.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    batches: list[list[int]] = []
    for place in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
