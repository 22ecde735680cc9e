"""Vectors at rest as they are read: a memory map, or several read as one.

Shape suffixes: N rows of all maps, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """Vectors at rest, N x D: a memory map, or several read as one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


class JoinedRows:
    """The rows of several memory maps, one after the other, indexed like an array and read only there."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = list(parts)
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.dtype = np.result_type(*(part.dtype for part in self.parts))
        self.shape = (int(self.ends[-1]), int(self.parts[0].shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice) and rows == slice(None, None, -1):
            # Read backwards, still from where they lie.
            return JoinedRows([part[::-1] for part in reversed(self.parts)])
        if isinstance(rows, slice):
            return self._slice(*rows.indices(len(self)))
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else np.where(rows < 0, rows + len(self), rows)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(self)}")
        out = np.empty((*rows.shape, self.shape[1]), dtype=self.dtype)
        part_of_row = np.searchsorted(self.ends, rows, side="right")
        for i in np.unique(part_of_row):
            here = part_of_row == i
            out[here] = self.parts[i][rows[here] - self._start(i)]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def _slice(self, first: int, last: int, step: int) -> np.ndarray:
        if step != 1:
            return self[np.arange(first, last, step)]
        pieces = []
        for i, part in enumerate(self.parts):
            low, high = max(first - self._start(i), 0), min(last - self._start(i), len(part))
            if low < high:
                pieces.append(part[low:high])
        if not pieces:
            return np.empty((0, self.shape[1]), dtype=self.dtype)
        return np.concatenate(pieces, dtype=self.dtype) if len(pieces) > 1 else pieces[0].astype(self.dtype, copy=False)

    def _start(self, i: int) -> int:
        return int(self.ends[i]) - len(self.parts[i])
