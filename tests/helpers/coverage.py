"""How often intervals hold the truth where it is known: documents drawn from real ones' mean reciprocal ranks.

tests/fixtures/document_mrr.csv has, for every document of three stores of MiniLM vectors (PEPs, Wikipedia, science),
its number of windows and three baselines' summed reciprocal ranks of the target, the context's chunks aside.

Shape suffixes: N documents of a store, n drawn ones, W windows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lvm_lab.judge.bootstrap import means, p_value

FILE = Path(__file__).parents[1] / "fixtures" / "document_mrr.csv"
STORES = ("peps", "wiki", "science")
DOCUMENTS = (5, 10, 20, 60)
ALONE = ("copy_last", "exponential", "mean_of_context")
PAIRED = ("copy_last - exponential", "copy_last - mean_of_context", "exponential - mean_of_context")


@dataclass(frozen=True)
class Share:
    """Of many draws. covered: intervals that hold the truth, or that are not given; false: p < .05 of a number that is
    0 in truth."""

    covered: float
    false: float


def shares(store: str, documents: int, draws: int, *, resamples: int = 200) -> dict[str, Share]:
    """By number: what is said of `documents` ones drawn from the store's, which are taken for all there are."""
    windows_N, sums = _documents(store)
    truth = {name: float(sums_N.sum() / windows_N.sum()) for name, sums_N in sums.items()}
    rng = np.random.default_rng([STORES.index(store), documents])
    covered, false = dict.fromkeys(sums, 0), dict.fromkeys(sums, 0)
    for draw in range(draws):
        drawn_n = rng.integers(len(windows_N), size=documents)
        windows_n = windows_N[drawn_n]
        document_W = np.repeat(np.arange(documents), windows_n)
        # A resample takes whole documents, so that their means serve as their windows'.
        columns = {
            name: np.repeat(sums_N[drawn_n] / windows_n - truth[name], windows_n) for name, sums_N in sums.items()
        }
        for name, number in means(columns, document_W, resamples=resamples, seed=draw).items():
            covered[name] += not (number.low > 0 or number.high < 0)
            false[name] += p_value(number) < 0.05
    return {name: Share(covered[name] / draws, false[name] / draws) for name in sums}


def pooled(documents: int, draws: int) -> Iterator[tuple[str, str, Share]]:
    """(store, number, shares) of everything."""
    for store in STORES:
        for name, share in shares(store, documents, draws).items():
            yield store, name, share


def _documents(store: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with FILE.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["store"] == store]
    sums = {name: np.array([float(row[name]) for row in rows]) for name in ALONE}
    for pair in PAIRED:
        one, other = pair.split(" - ")
        sums[pair] = sums[one] - sums[other]
    return np.array([int(row["windows"]) for row in rows]), sums
