"""How Lightning writes and reads checkpoints here: whole or not at all, and without unpickling."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically
from lvm_lab.model import read_checkpoint
from lvm_lab.training._lightning import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """A kill or a full disk leaves the last good checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            write_atomically(file, buffer.getbuffer())
        except OSError as error:
            raise UserError(
                f"{file} could not be written ({error.strerror}); the last good checkpoint is kept: "
                "make room and give the same command again to go on."
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location)
