"""What the header of an `.npz`'s member says of it, read before any value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy


@dataclass(frozen=True)
class Header:
    """What the `.npy` header of a member says; `size` is the header's own length in bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    size: int = 0

    @property
    def pickled(self) -> bool:
        return self.dtype.hasobject

    @property
    def values(self) -> int:
        return math.prod(self.shape)


def read_header(handle: IO[bytes]) -> Header:
    """The header at the beginning of a member; raises whatever damaged bytes make NumPy raise."""
    version = npy.read_magic(handle)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"unknown .npy version {version}")
    shape, fortran, dtype = readers[version](handle)
    return Header(tuple(shape), dtype, bool(fortran) and len(shape) > 1, handle.tell())
