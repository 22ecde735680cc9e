"""Checkpoints on disk: written whole or not at all, read without unpickling, and checked by a golden pair."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from lvm_lab import __version__
from lvm_lab.config.sources import without_secrets
from lvm_lab.errors import UserError
from lvm_lab.training.module import LatentVectorModule

KEY = "lvm_lab"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that a kill or a full disk leaves the last good one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        building = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            with open(building, "wb") as out:
                out.write(buffer.getbuffer())
                out.flush()
                os.fsync(out.fileno())
            os.replace(building, file)
        except OSError as error:
            raise UserError(
                f"{file} could not be written ({error.strerror}); the last good checkpoint is kept: "
                "make room and give the same command again to go on."
            ) from error
        finally:
            building.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return read(Path(path), map_location)


def read(path: Path, device: Any = "cpu") -> dict[str, Any]:
    """The checkpoint's contents, by the weights-only unpickler."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a .ckpt file or a run's folder.")
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises what its readers happen to raise on a damaged file
        raise UserError(f"{path} is no readable checkpoint ({type(error).__name__}); take another one.") from error


def identity(config: dict[str, Any], contract: dict[str, Any], dim: int, context_length: int) -> dict[str, Any]:
    """What every checkpoint of a run says of itself, with the input of the golden pair."""
    generator = torch.Generator().manual_seed(0)
    golden_BLD = torch.nn.functional.normalize(torch.randn(2, context_length, dim, generator=generator), dim=-1)
    return {"config": without_secrets(config), "contract": contract, "version": __version__, "golden_input": golden_BLD}


def restore(module: LatentVectorModule, checkpoint: dict[str, Any], name: str) -> None:
    """Load the weights and compare the golden pair.

    Raises UserError where names, shapes or the golden output do not match: two classes with equal
    parameter names would load each other's weights without a word.
    """
    try:
        module.load_state_dict(checkpoint["state_dict"], strict=True)
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{name} does not fit the architecture that its config names; take another one.") from error
    said = checkpoint[KEY]
    output_BD = module.golden_output(said["golden_input"])
    difference = float((output_BD - said["golden_output"]).abs().max() / said["golden_output"].abs().max())
    if not difference < 1e-2:
        raise UserError(
            f"{name} gives another output than when it was saved (golden pair differs by {difference:.1%}); "
            f"it was written by version {said['version']}: load it with that one."
        )
