"""What no vector of a store may be, told by the values themselves: squares in float32 overflow long before these do."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from lvm_lab.errors import UserError

# The lengths between which float32 squares neither overflow nor vanish, as cosines and norms need them.
SHORTEST, LONGEST = 1e-12, 1e18


def flaw(vectors: np.ndarray, dtype: DTypeLike | None = None) -> tuple[tuple[int, ...], str] | None:
    """(index, what is wrong there) of the first vector along the last axis that is no direction; None without one.

    dtype: in which they are to be kept, where it may hold less.
    """
    lengths = _lengths(vectors)
    index = _first(lengths)
    if index is not None:
        return index, _words(vectors[index], float(lengths[index]))
    if dtype is None or np.can_cast(vectors.dtype, dtype):
        return None
    with np.errstate(over="ignore", under="ignore"):
        index = _first(_lengths(vectors.astype(dtype)))
    return None if index is None else (index, _too_much_for(np.dtype(dtype), vectors[index]))


def _lengths(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        lengths: np.ndarray = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=-1))
    return lengths


def _first(lengths: np.ndarray) -> tuple[int, ...] | None:
    """The index of the first length that none may have."""
    # A comparison with NaN is false.
    bad = ~((lengths >= SHORTEST) & (lengths <= LONGEST))
    return tuple(int(i) for i in np.argwhere(bad)[0]) if bad.any() else None


def _too_much_for(dtype: np.dtype, vector_D: np.ndarray) -> str:
    limits, largest = np.finfo(dtype), float(np.abs(vector_D).max())
    return (
        f"does not fit into {dtype}, which holds {limits.smallest_subnormal:.0e} to {limits.max:g} (its largest value "
        f"is {largest:.3g}); set dtype=float32"
    )


def _words(vector_D: np.ndarray, length: float) -> str:
    if not np.isfinite(vector_D).all():
        return "holds NaN or infinity; drop or encode that chunk again"
    if not vector_D.any():
        return "is all zeros; drop or encode that chunk again"
    if length == 0 or not np.isfinite(length):
        # Even float64 squares overflow or vanish.
        largest = float(np.abs(vector_D).max())
        length = largest * float(np.linalg.norm(vector_D.astype(np.float64) / largest))
    kind, edge = ("long", LONGEST) if length > LONGEST else ("short", SHORTEST)
    return f"is of length {length:.3g}, too {kind} to compute with in float32 (the edge is {edge:g}); scale all vectors"


def check_vectors(vectors_ND: np.ndarray, name: str, rows_before: int = 0, dtype: DTypeLike | None = None) -> None:
    """Refuse vectors that are not finite, nonzero and N x D, reading them in slices. rows_before: of earlier blocks;
    dtype: as of `flaw`."""
    check_layout(vectors_ND, name)
    for start in range(0, len(vectors_ND), 16_384):
        flawed = flaw(vectors_ND[start : start + 16_384], dtype)
        if flawed is not None:
            (row,), words = flawed
            raise UserError(f"{name}: vector {rows_before + start + row} {words}.")


def check_layout(vectors_ND: np.ndarray, name: str) -> None:
    """Refuse what is not N x D in float16 or float32, without reading a value."""
    if vectors_ND.ndim != 2 or vectors_ND.dtype not in (np.float16, np.float32):
        raise UserError(
            f"{name}: vectors must be N x D in float16 or float32, and these are {vectors_ND.dtype} of shape "
            f"{tuple(vectors_ND.shape)}; save them as such an array."
        )
    if vectors_ND.shape[1] == 1:
        raise UserError(f"{name}: vectors of 1 dimension have no direction to predict; bring vectors of 2 or more.")
