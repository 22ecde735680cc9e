"""Mamba-2 forward and backward on a CPU: ours beside transformers' Mamba2Model with the same weights, in turn.

python benchmarks/mamba2_speed.py [ROUNDS]

transformers pads every context to its chunk (256 unless told): at L = 5 it works on fifty times the places that are
there. It gets that chunk, the smallest that fits, and at L = 256 the best of five. With chunk 256 it gets only 4 of
the 64 rows, since all of them take minutes and many GB: the ratio stated there is a lower bound.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from common import machine, spread

from lvm_lab.archs.mamba2 import Mamba2

WIDTH, LAYERS, STATE, HEAD_DIM = 256, 4, 32, 32
SHORT, LONG = (64, 5), (2, 256)  # batch, length


def ours() -> Any:
    torch.manual_seed(0)
    return Mamba2(WIDTH, 5, width=WIDTH, layers=LAYERS, state=STATE, head_dim=HEAD_DIM).stack


def theirs(chunk: int, weights: dict[str, torch.Tensor]) -> Any:
    config = transformers.Mamba2Config(
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        state_size=STATE,
        head_dim=HEAD_DIM,
        num_heads=2 * WIDTH // HEAD_DIM,
        n_groups=1,
        chunk_size=chunk,
        vocab_size=3,
        use_cache=False,
    )
    model = transformers.Mamba2Model(config)
    problems = model.load_state_dict(weights, strict=False)
    assert problems.missing_keys == ["embeddings.weight"]
    return lambda x_BLH: model(inputs_embeds=x_BLH).last_hidden_state


def seconds(model: Callable[[torch.Tensor], torch.Tensor], x_BLH: torch.Tensor) -> float:
    """Of one forward and backward."""
    start = time.perf_counter()
    model(x_BLH).square().sum().backward()
    return time.perf_counter() - start


def compare(name: str, model: Any, other: Any, x_BLH: torch.Tensor, rounds: int, rows: int | None = None) -> float:
    """Prints and returns the median over the rounds of their time over ours, measured one after the other.

    rows: how many of the batch theirs gets; all if None.
    """
    with torch.no_grad():
        gap = (model(x_BLH[:2]) - other(x_BLH[:2])).abs().max().item()
    assert gap < 1e-4, f"{name} computes something else: {gap}"
    seconds(model, x_BLH)
    pairs = [(seconds(model, x_BLH), seconds(other, x_BLH[:rows])) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    print(f"{name}: ours {spread([a for a, _ in pairs])} s, theirs {spread([b for _, b in pairs])} s")
    print(f"  theirs / ours {spread(ratios)}", flush=True)
    return ratios[len(ratios) // 2]


def main(rounds: int) -> None:
    print(f"Mamba-2, {LAYERS} layers of width {WIDTH}, state {STATE}, heads of {HEAD_DIM}; {machine()}")
    print(f"transformers {transformers.__version__}")
    model = ours()
    weights = model.state_dict()
    short_BLH, long_BLH = torch.randn(*SHORT, WIDTH), torch.randn(*LONG, WIDTH)
    compare("B = 64, L = 5, chunk 8", model, theirs(8, weights), short_BLH, rounds)
    best = {
        chunk: compare(f"B = 2, L = 256, chunk {chunk}", model, theirs(chunk, weights), long_BLH, rounds)
        for chunk in (16, 32, 64, 128, 256)
    }
    chunk = min(best, key=lambda c: best[c])
    print(f"  its best chunk at L = 256 is {chunk}: theirs / ours {best[chunk]:.2f}")
    compare(
        "B = 64, L = 5, chunk 256 (its default), theirs on 4 rows",
        model,
        theirs(256, weights),
        short_BLH,
        max(1, rounds // 2),
        4,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
