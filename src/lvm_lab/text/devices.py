"""Where an encoder computes, and with which digits; what its weights are. Torch comes in when a function is called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from lvm_lab.errors import UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
REVISION_DIGITS = 16


def device_of(name: str, setting: str = "encoder.device") -> torch.device:
    """The device that a setting names. Raises UserError for one that this machine does not have."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if name not in there:
        raise UserError(f"{setting}={name} does not fit; choose auto, cpu, cuda or mps.")
    if not there[name]:
        raise UserError(f"{setting}={name} is not on this machine; set {setting}=auto.")
    return torch.device(name)


def dtype_of(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA, where it is twice as fast or more; float32 elsewhere."""
    import torch

    return torch.bfloat16 if device.type == "cuda" else torch.float32


def revision_of(model: torch.nn.Module) -> str:
    """The first digits of the sha256 over a model's weights by name, whatever file they were read from."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:REVISION_DIGITS]
