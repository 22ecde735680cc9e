"""What a training imports: Lightning, and nothing that only metrics which nobody uses here would need."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNUSED = ("transformers", "matplotlib", "scipy.signal", "pandas")


@pytest.mark.slow
def test_a_training_starts_without_the_libraries_of_metrics_that_it_does_not_use() -> None:
    pytest.importorskip("transformers", reason="torchmetrics can import only what is installed")
    code = (
        "import sys, lvm_lab.training.trainer, lvm_lab.training.module, torchmetrics;"
        f"there = [name for name in {UNUSED} if name in sys.modules];"
        "from torchmetrics.utilities.imports import _TORCH_GREATER_EQUAL_2_1 as torch_is_there;"
        "assert torch_is_there and not there, there"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_torchmetrics_that_a_caller_imported_first_is_left_whole() -> None:
    pytest.importorskip("transformers", reason="its metrics of texts need it")
    code = "import torchmetrics, lvm_lab.training.module; from torchmetrics.functional.text.bert import bert_score"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
