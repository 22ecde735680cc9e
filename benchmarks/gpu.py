"""On a CUDA machine: Mamba-2's fused path against the plain one, and every arch's windows per second in bfloat16.

python benchmarks/gpu.py
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import yaml
from common import settings

from lvm_lab.build.training import module
from lvm_lab.config.conf import conf_dir
from lvm_lab.nn import kernels
from lvm_lab.types import Stats

ARCHS = sorted(file.stem for file in (conf_dir() / "arch").glob("*.yaml") if file.stem != "ensemble")
WARM_UP = 5


@dataclass(frozen=True)
class Sizes:
    """batches: windows by context length. rounds: whose median counts."""

    device: str = "cuda"
    dim: int = 768
    width: int = 512
    rounds: int = 20
    batches: dict[int, int] = field(default_factory=lambda: {5: 4096, 64: 512, 256: 128})


def backbone_of(arch: str, length: int, sizes: Sizes) -> Any:
    pair = ["head=two_tower", "loss=diffusion"] if arch == "lcm_two_tower" else []
    known = yaml.safe_load((conf_dir() / "arch" / f"{arch}.yaml").read_text())
    width = [f"arch.width={sizes.width}"] if "width" in known else []
    run = settings(f"arch={arch}", *pair, *width, f"data.context_length={length}")
    stats = Stats(torch.zeros(sizes.dim), torch.ones(sizes.dim))
    return module(run, stats, {}).model.backbone.to(sizes.device)


def milliseconds(backbone: Any, x_BLD: torch.Tensor, rounds: int) -> float:
    """Median of forward and backward under bfloat16 autocast."""
    times = [_timed(lambda: _forward_backward(backbone, x_BLD), x_BLD) for _ in range(WARM_UP + rounds)]
    return statistics.median(times[WARM_UP:])


def _forward_backward(backbone: Any, x_BLD: torch.Tensor) -> None:
    with torch.autocast(x_BLD.device.type, torch.bfloat16):
        loss = backbone(x_BLD).float().square().mean()
    loss.backward()
    backbone.zero_grad()


def _timed(step: Callable[[], None], x: torch.Tensor) -> float:
    """Milliseconds by CUDA's events, elsewhere by the clock."""
    if not x.is_cuda:
        start = time.perf_counter()
        step()
        return 1000 * (time.perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    step()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def compare_mamba2(length: int, sizes: Sizes) -> str:
    """The fused kernels and the plain path on the same weights and input, in a line."""
    if kernels.installed() is None:
        return "mamba-ssm does not import here: nothing to compare"
    backbone = backbone_of("mamba2", length, sizes)
    x_BLD = torch.randn(sizes.batches[length], length, sizes.dim, device=sizes.device)
    outputs, times = {}, {}
    try:
        for choice in ("fused", "plain"):
            kernels.choose(choice)
            with torch.no_grad(), torch.autocast(sizes.device, torch.bfloat16):
                outputs[choice] = backbone(x_BLD).float()
            times[choice] = milliseconds(backbone, x_BLD, sizes.rounds)
    finally:
        kernels.choose("auto")
    difference = float((outputs["fused"] - outputs["plain"]).norm() / outputs["plain"].norm())
    ratio = times["plain"] / times["fused"]
    return f"mamba2, L = {length}: relative difference {difference:.1e}, plain / fused time {ratio:.2f}"


def rates(arch: str, sizes: Sizes) -> str:
    """Windows per second, forward and backward, at each length, in a line."""
    parts = []
    for length, batch in sizes.batches.items():
        x_BLD = torch.randn(batch, length, sizes.dim, device=sizes.device)
        ms = milliseconds(backbone_of(arch, length, sizes), x_BLD, sizes.rounds)
        parts.append(f"{1000 * batch / ms:,.0f} at L = {length}")
    return f"{arch:18s} windows/s forward + backward: {', '.join(parts)}"


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA device here: this benchmark was not run")
        return 1
    sizes = Sizes()
    where = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    print(f"{where}, D = {sizes.dim}, width {sizes.width}, bfloat16 autocast")
    for length in sizes.batches:
        print(compare_mamba2(length, sizes), flush=True)
    for arch in ARCHS:
        print(rates(arch, sizes), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
