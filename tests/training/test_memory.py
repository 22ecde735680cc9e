"""Training reads a large store through its memory map: what it allocates stays far below what the store holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is read from Linux's /proc")
def test_training_on_200_000_vectors_allocates_less_than_a_gigabyte() -> None:
    # The store and the windows over it are what counts, so model and loss may be the quickest ones.
    quick = ("arch=gru", "arch.width=16", "loss=mse", "trainer.batch_size=1024")
    command = [sys.executable, str(BENCHMARK), "200000", *quick]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    over = float(done.stdout.split("scoring: ")[1].split(" MiB")[0])
    # Windows copied out of the store would take 200,000 x 5 x 768 float16: 1.5 GiB.
    assert 0 < over < 1000
