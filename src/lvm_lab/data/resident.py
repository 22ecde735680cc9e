"""Vectors that live on the device that computes with them, so that batches are gathered there.

Shape suffixes: N rows, D vector dim.
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import torch

from lvm_lab.data.batches import Gather, from_map
from lvm_lab.data.rows import Rows
from lvm_lab.errors import UserError

log = logging.getLogger(__name__)

# Of a device's free memory, for vectors; the rest is the model's, its gradients' and its activations'.
SHARE = 0.5
# Rows that are copied at once: the host holds no second store on the way.
SLICE = 65_536


class Resident:
    """Gathers, from the stores that it was asked for, what lies on the device; each store is copied once.

    resident: auto, always or never, as device.resident has it.
    """

    def __init__(self, device: torch.device, resident: Literal["auto", "always", "never"]) -> None:
        self.device, self.resident = device, resident
        # The vectors stand beside their copy, so that their id stays theirs.
        self._copies: dict[int, tuple[Rows, torch.Tensor]] = {}

    def gather(self, vectors_ND: Rows) -> Gather:
        """From the device where the vectors live there, else from where they lie at rest.

        Raises UserError for device.resident=always where they do not fit.
        """
        if id(vectors_ND) not in self._copies:
            if not self._belongs(vectors_ND):
                return from_map(vectors_ND)
            self._copies[id(vectors_ND)] = vectors_ND, self._copy(vectors_ND)
        copy_ND = self._copies[id(vectors_ND)][1]
        return lambda rows: _rows(copy_ND, rows)

    def _belongs(self, vectors_ND: Rows) -> bool:
        if self.resident != "auto":
            return self.resident == "always"
        # On a CPU the memory map is memory already.
        if self.device.type != "cuda":
            return False
        wanted, free = _bytes(vectors_ND), torch.cuda.mem_get_info(self.device)[0]
        if wanted <= SHARE * free:
            return True
        log.info(
            "%.1f GB of vectors are read from the disk: %s has %.1f GB free", wanted / 1e9, self.device, free / 1e9
        )
        return False

    def _copy(self, vectors_ND: Rows) -> torch.Tensor:
        total, dim = vectors_ND.shape
        try:
            copy_ND = torch.empty((total, dim), dtype=_dtype(vectors_ND), device=self.device)
        except (RuntimeError, MemoryError) as error:
            gigabytes = _bytes(vectors_ND) / 1e9
            raise UserError(
                f"{gigabytes:.1f} GB of vectors do not fit on {self.device}; set device.resident=never, or auto."
            ) from error
        for start in range(0, total, SLICE):
            # A copy, since torch takes no array that cannot be written to.
            piece_ND = np.array(vectors_ND[start : start + SLICE])
            copy_ND[start : start + SLICE] = torch.from_numpy(piece_ND).to(self.device)
        log.info("%d vectors live on %s (%.2f GB)", total, self.device, _bytes(vectors_ND) / 1e9)
        return copy_ND


def _rows(copy_ND: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    rows_N = torch.from_numpy(np.ascontiguousarray(rows).ravel()).to(copy_ND.device)
    return copy_ND.index_select(0, rows_N).float().view(*rows.shape, copy_ND.shape[1])


def _dtype(vectors_ND: Rows) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=vectors_ND.dtype)).dtype


def _bytes(vectors_ND: Rows) -> int:
    return int(vectors_ND.shape[0] * vectors_ND.shape[1] * np.dtype(vectors_ND.dtype).itemsize)
