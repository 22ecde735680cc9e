"""Which of a decoder's candidates is written: the best, or one by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lvm_lab.text.decoder import Candidate

Choice = Callable[[Sequence[Candidate]], Candidate]


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The decoder's first."""
    return candidates[0]


def sampled(temperature: float, seed: int | None) -> Choice:
    """By chance, each candidate with the probability softmax(score / temperature); temperature: above 0. seed: None for
    another one each time."""
    draws = np.random.default_rng(None if seed is None else abs(seed))

    def choose(candidates: Sequence[Candidate]) -> Candidate:
        scores = np.array([one.score for one in candidates], dtype=np.float64)
        # Less the greatest, so that no exponential is too large for a float; what is too far below it weighs nothing.
        with np.errstate(over="ignore"):
            weights = np.exp((scores - scores.max()) / temperature)
        return candidates[int(draws.choice(len(candidates), p=weights / weights.sum()))]

    return choose
