"""What 5CAT costs beside the forward passes that it needs, batched the same way, measured in turn, at several sizes.

Seconds are the process's CPU seconds, on one thread, so that other work on the machine counts less.

python benchmarks/five_cat_cost.py [WINDOWS ...]    (a part; 1,000, 10,000 and 100,000 unless given)
"""

from __future__ import annotations

import sys
import time
from unittest import mock

import numpy as np
import torch
from common import machine, settings, spread

from lvm_lab.build.data import parts as cut
from lvm_lab.build.training import module
from lvm_lab.config.settings import Settings
from lvm_lab.data.windows import Windows, sample_evenly
from lvm_lab.judge import verdict as scoring
from lvm_lab.judge.bootstrap import means
from lvm_lab.judge.five_cat import measure
from lvm_lab.training.module import LatentVectorModule
from lvm_lab.types import Prediction

SIZES = (1_000, 10_000, 100_000)
ROUNDS = {1_000: 7, 10_000: 2}
BATCH = 1024


def main(sizes: list[int]) -> None:
    # What is judged makes no difference to the cost, so that training windows serve as well: there are more of them.
    torch.set_num_threads(1)
    most = max(sizes)
    run_settings = settings("arch=amn", f"data.documents={most // 9 + 100}", f"data.ood_documents={most // 15 + 10}")
    data = cut(run_settings)
    assert data.ood is not None
    model = module(run_settings, data.stats, {}).eval()
    print(f"5CAT on VAL + OOD windows, arch=amn, {run_settings.preset.resamples} resamples; CPU seconds; {machine()}")
    costs = [
        cost(model, sample_evenly(data.train, n, 0), sample_evenly(data.ood, n, 0), run_settings, n) for n in sizes
    ]
    for size, seconds in zip(sizes, costs, strict=True):
        print(f"{size:,} a part: {1e6 * seconds / (2 * size):.0f} us a window")


def cost(model: LatentVectorModule, val: Windows, ood: Windows, run_settings: Settings, windows: int) -> float:
    """Prints one size; the median seconds of a judgement."""
    sizes: list[int] = []
    bootstrap: list[float] = []

    def counted(context_BLD: torch.Tensor) -> Prediction:
        sizes.append(len(context_BLD))
        return model.predict(context_BLD)

    def timed_means(*args, **kwargs):
        start = time.process_time()
        try:
            return means(*args, **kwargs)
        finally:
            bootstrap[-1] += time.process_time() - start

    def judge(predictor=model.predict) -> float:
        bootstrap.append(0.0)
        start = time.process_time()
        measure(predictor, val, ood, run_settings.preset, at_most=windows)
        return time.process_time() - start

    some = torch.from_numpy(np.ascontiguousarray(val.context(slice(0, BATCH))))

    def forwards() -> float:
        start = time.process_time()
        with torch.inference_mode():
            for size in sizes:
                model.predict(some[:size])
        return time.process_time() - start

    with mock.patch.object(scoring, "means", timed_means):
        # The first judgement warms up and counts; at the largest size, where one takes minutes, it is the measured one.
        pairs = [(judge(counted), forwards())]
        if windows in ROUNDS:
            bootstrap.clear()
            pairs = [(judge(), forwards()) for _ in range(ROUNDS[windows])]
    seconds, ratio = [j for j, _ in pairs], [j / f for j, f in pairs]
    rows = sum(sizes) / (len(val) + len(ood))
    print(f"{len(val):,} + {len(ood):,} windows, {rows:.1f} forwards a window: {spread(seconds)} s,", end=" ")
    print(f"of which bootstrap {spread(bootstrap)} s; 5CAT / its forward passes {spread(ratio)}", flush=True)
    return float(np.median(seconds))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
