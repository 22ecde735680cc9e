"""The devices of a run: whether they are there, and what processes that share a training say to each other.

Imports no torch by itself: the door of a training asks it whether this process is the first one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvm_lab.config.settings import DeviceSettings
from lvm_lab.errors import UserError
from lvm_lab.runs.process import is_leader

JOB = "LVM_LAB_JOB"
# Between a process's end and its parent's word of it.
GRACE_SECONDS = 2.0


def check_available(device: DeviceSettings) -> None:
    """UserError for an accelerator that this machine has not."""
    import torch

    available = {
        "gpu": torch.cuda.is_available(),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.accelerator, True):
        raise UserError(f"this machine has no {device.accelerator} device that PyTorch can use; set device=cpu.")


def check_precision(precision: str, device: DeviceSettings) -> None:
    """UserError for a precision that this device does not compute in."""
    kind = _kind(device)
    if precision == "16-mixed" and kind == "cpu":
        # Lightning would go on in bfloat16, and the run's config would say otherwise.
        raise UserError("trainer.precision=16-mixed needs a GPU; on a CPU set trainer.precision=bf16-mixed or 32-true.")
    if precision == "64-true" and kind == "mps":
        raise UserError("MPS devices have no float64; set trainer.precision=32-true or device=cpu.")


def choose_kernels(device: DeviceSettings) -> None:
    """Have this process compute with device.kernels; UserError for fused ones where they cannot run."""
    from lvm_lab.nn import kernels

    if device.kernels == "fused" and (_kind(device) != "cuda" or kernels.installed() is None):
        raise UserError(
            "device.kernels=fused needs a CUDA device and the packages of pip install '.[mamba]'; "
            "set device.kernels=auto, which takes them where they are."
        )
    kernels.choose(device.kernels)


def judging_device(device: DeviceSettings) -> str:
    """The device that models are judged on, as torch names it."""
    import torch

    if device.accelerator == "mps":
        return "mps"
    return "cuda" if device.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"


def lead(config: dict[str, Any], sweep_dir: Path | None) -> None:
    """Leave word of what is run here to the processes that Lightning will start with this one's command line.

    That line does not say it: a schedule's row is known in its first process alone.
    """
    if is_leader():
        os.environ[JOB] = json.dumps({"config": config, "sweep_dir": sweep_dir and str(sweep_dir)})


def follow(job: Callable[[dict[str, Any], Path | None], Any]) -> None:
    """In a process that another one started: run what that one runs, and leave. Elsewhere nothing."""
    if is_leader() or JOB not in os.environ:
        return
    word = json.loads(os.environ[JOB])
    try:
        job(word["config"], word["sweep_dir"] and Path(word["sweep_dir"]))
    except (KeyboardInterrupt, UserError, OSError):
        # The first process tells.
        sys.exit(1)
    sys.exit(0)


def check(devices: int, batch_size: int, trained: bool) -> None:
    """UserError where a run cannot be shared among so many devices. trained: whether anything is."""
    if devices == 1:
        return
    if not trained:
        raise UserError(f"nothing is trained here that {devices} devices could share; set device.devices=1.")
    if devices > batch_size:
        raise UserError(
            f"{devices} devices cannot share trainer.batch_size={batch_size}; set device.devices={batch_size} or fewer."
        )
    if batch_size % devices:
        raise UserError(
            f"trainer.batch_size={batch_size} cannot be shared evenly by {devices} devices; "
            f"set {batch_size // devices * devices} or another multiple of {devices}."
        )
    check_multirun(devices)


def check_multirun(devices: int | str) -> None:
    """UserError where a run of a multirun asks for several devices by number or by name, before anything is read.

    How many `auto` and -1 are is known once there is a trainer.
    """
    count = devices if isinstance(devices, int) else len(devices.split(","))
    if count > 1 and _in_multirun():
        raise UserError(
            f"a multirun starts its runs in one process and {count} devices need one each; leave -m away and start "
            "the runs one by one (of a schedule: schedule=NAME run_id=ROW), or set device.devices=1."
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether torch says that a device, or the machine itself, had no memory left for a tensor."""
    import torch

    # The allocators of CPU and MPS raise plain RuntimeErrors.
    words = ("DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def smaller_batch(batch_size: int, devices: int) -> str:
    """What to set where a training needed more memory than a device has, for the end of a sentence."""
    half = batch_size // 2 // devices * devices
    if half < 2:
        return "set a smaller arch.width or device=cpu"
    return f"set trainer.batch_size={half}, half of it (which is another run), or a smaller arch"


def any_of(flags: Sequence[bool], device: Any) -> list[bool]:
    """Each of the flags, true where it is so for any process of the run; all of them have to ask at once."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return [*flags]
    shared = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in shared.tolist()]


def lost(launcher: Any) -> bool:
    """Whether a process that Lightning's launcher started was killed, which the first one notices by a dead line."""
    processes = getattr(launcher, "procs", [])
    ends = time.monotonic() + GRACE_SECONDS
    while processes and time.monotonic() < ends:
        if any((process.poll() or 0) < 0 for process in processes):
            return True
        time.sleep(0.1)
    return False


def part() -> None:
    """End what the processes of a run have in common: the first one goes on alone, to score."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _in_multirun() -> bool:
    """Whether the job that `lead` left word of is one of a multirun's."""
    return JOB in os.environ and json.loads(os.environ[JOB])["sweep_dir"] is not None


def _kind(device: DeviceSettings) -> str:
    """cuda, mps or cpu: what Lightning takes for these settings."""
    import torch

    if device.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if device.accelerator in ("auto", "mps") and torch.backends.mps.is_available():
        return "mps"
    return "cpu"
