"""What 5CAT costs beside the forward passes that it needs, batched the same way, measured in turn.

python benchmarks/five_cat_cost.py [WINDOWS]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from common import machine, settings, spread

from lvm_lab import build
from lvm_lab.data.windows import sample_evenly
from lvm_lab.judge.five_cat import measure
from lvm_lab.types import Prediction

ROUNDS = 5
BATCH = 1024


def main(windows: int) -> None:
    documents = windows // 2
    chosen = settings("arch=amn", f"data.documents={documents}", f"data.ood_documents={windows // 19 + 1}")
    data = build.parts(chosen)
    assert data.ood is not None
    model = build.module(chosen, data.stats, {}).eval()
    val, ood = (sample_evenly(part, windows, 0) for part in (data.val, data.ood))
    contexts: list[torch.Tensor] = []

    def counted(context_BLD: torch.Tensor) -> Prediction:
        contexts.append(context_BLD)
        return model.predict(context_BLD)

    def judge() -> float:
        start = time.perf_counter()
        measure(model.predict, val, ood, chosen.preset, at_most=windows)
        return time.perf_counter() - start

    measure(counted, val, ood, chosen.preset, at_most=windows)
    rows = sum(len(context) for context in contexts)
    sizes = [len(context) for context in contexts]
    some = torch.from_numpy(np.ascontiguousarray(val.context(slice(0, BATCH))))
    contexts.clear()

    def forwards() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for size in sizes:
                model.predict(some[:size])
        return time.perf_counter() - start

    forwards()
    pairs = [(judge(), forwards()) for _ in range(ROUNDS)]
    print(f"5CAT on {len(val)} + {len(ood)} windows, arch=amn, {chosen.preset.resamples} resamples; {machine()}")
    print(f"{rows / (len(val) + len(ood)):.1f} forwards a window; {spread([j for j, _ in pairs])} s")
    print(f"5CAT / its forward passes {spread([j / f for j, f in pairs])}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
