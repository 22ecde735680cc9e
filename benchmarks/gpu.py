"""On a CUDA machine: Mamba-2's fused path against the plain one, and every arch's windows per second in bfloat16.

python benchmarks/gpu.py
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import torch
from common import settings

from lvm_lab.build.training import module
from lvm_lab.commands import launch as cli
from lvm_lab.nn import mamba2 as _mamba2
from lvm_lab.types import Stats

DIM, WIDTH, ROUNDS = 768, 512, 20
BATCHES = {5: 4096, 256: 128}


def backbone_of(arch: str, length: int) -> Any:
    pair = ["head=two_tower", "loss=diffusion"] if arch == "lcm_two_tower" else []
    chosen = settings(f"arch={arch}", *pair, f"arch.width={WIDTH}", f"data.context_length={length}")
    return module(chosen, Stats(torch.zeros(DIM), torch.ones(DIM)), {}).model.backbone.cuda()


def milliseconds(backbone: Any, x_BLD: torch.Tensor) -> float:
    """Median of forward and backward under bfloat16 autocast, by CUDA events."""
    times = []
    for round_ in range(ROUNDS + 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        with torch.autocast("cuda", torch.bfloat16):
            loss = backbone(x_BLD).float().square().mean()
        loss.backward()
        backbone.zero_grad()
        end.record()
        end.synchronize()
        if round_ >= 5:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def compare_mamba2(length: int) -> None:
    """The fused kernels and the plain path on the same weights and input."""
    backbone, x_BLD = backbone_of("mamba2", length), torch.randn(BATCHES[length], length, DIM, device="cuda")
    fused = _mamba2._cuda_kernels()
    if fused is None:
        print("mamba-ssm and causal-conv1d do not import here: nothing to compare")
        return
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        by_kernels = backbone(x_BLD).float()
    kernels_ms = milliseconds(backbone, x_BLD)
    plain = _mamba2._cuda_kernels
    try:
        _mamba2._cuda_kernels = lambda: None  # type: ignore[assignment]
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            by_torch = backbone(x_BLD).float()
        torch_ms = milliseconds(backbone, x_BLD)
    finally:
        _mamba2._cuda_kernels = plain
    difference = float((by_kernels - by_torch).norm() / by_torch.norm())
    print(f"mamba2, L = {length}: relative difference {difference:.1e}, plain / fused time {torch_ms / kernels_ms:.2f}")


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device here: this benchmark was not run")
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, D = {DIM}, width {WIDTH}, bfloat16 autocast")
    for length in BATCHES:
        compare_mamba2(length)
    for arch in sorted(file.stem for file in (cli.conf_dir() / "arch").glob("*.yaml") if file.stem != "ensemble"):
        rates = []
        for length, batch in BATCHES.items():
            x_BLD = torch.randn(batch, length, DIM, device="cuda")
            rates.append(f"{1000 * batch / milliseconds(backbone_of(arch, length), x_BLD):,.0f} at L = {length}")
        print(f"{arch:18s} windows/s forward + backward: {', '.join(rates)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
