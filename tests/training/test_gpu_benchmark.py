"""The GPU's benchmark measures every arch: run on the CPU with tiny sizes, so that it works when a GPU comes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from lvm_lab.nn import kernels

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ARCHS = sorted(file.stem for file in (BENCHMARKS.parent / "conf" / "arch").glob("*.yaml") if file.stem != "ensemble")


def benchmark(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        module = import_module(name)
        # Other tests have a `common` of their own or none.
        sys.modules.pop("common", None)
        return module


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    return benchmark("gpu")


@pytest.fixture(scope="module")
def loop() -> ModuleType:
    return benchmark("training_loop")


@pytest.mark.parametrize("arch", [a if a == "gru" else pytest.param(a, marks=pytest.mark.slow) for a in ARCHS])
def test_every_arch_is_measured(gpu: ModuleType, arch: str) -> None:
    sizes = gpu.Sizes(device="cpu", dim=16, width=32, rounds=1, batches={5: 2, 70: 2})
    line = gpu.rates(arch, sizes)
    assert line.startswith(arch)
    assert "at L = 5, " in line
    assert line.endswith("at L = 70")


def test_the_trainer_is_measured_beside_a_loop_by_hand(loop: ModuleType) -> None:
    few = ("data.documents=40", "data.ood_documents=4", "data.dim=64", "arch.width=16", "arch.layers=1")
    sizes = loop.Sizes(batch=32, blocks=1, steps=2, precision="bf16-mixed", more=few)
    assert loop.EVERY_ARCH == ARCHS
    line = loop.measure("gru", sizes)
    assert line.startswith("gru")
    assert line.endswith("n = 1)")


def test_the_list_is_every_arch(gpu: ModuleType) -> None:
    assert gpu.ARCHS == ARCHS


def test_both_paths_of_mamba2_are_compared(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = gpu.Sizes(device="cpu", dim=16, width=32, rounds=1, batches={5: 2})
    monkeypatch.setattr(kernels, "installed", lambda: None)
    assert "nothing to compare" in gpu.compare_mamba2(5, sizes)
    # On a CPU both are the plain path.
    monkeypatch.setattr(kernels, "installed", lambda: kernels.Kernels(min, None))
    assert "relative difference 0.0e+00" in gpu.compare_mamba2(5, sizes)
