"""The vectors in an answer of `/v1/embeddings`, each held against what a store may take.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from lvm_lab.errors import UserError


def vectors_of(answer: Any, count: int, who: str) -> np.ndarray:
    """float32 N x D, in the order of the answer's `index`. who: what messages call the endpoint.

    Raises UserError for another number of vectors than `count`, for places that are missing or there twice, for vectors
    of several lengths, and for what is no number.
    """
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _refused(who, "with something that is no list of vectors", "check that it is one for embeddings")
    if len(items) != count:
        raise _refused(who, f"with {len(items)} vectors for {count} texts", "choose another endpoint or model")
    places = [item.get("index", place) for place, item in enumerate(items)]
    if any(type(place) is not int for place in places) or sorted(places) != list(range(count)):
        raise _refused(who, "with places of vectors that are not 0 to N - 1, once each", "choose another endpoint")
    vectors = [_vector(item.get("embedding"), who) for item in items]
    if len({len(vector_D) for vector_D in vectors}) != 1 or not len(vectors[0]):
        raise _refused(who, "with vectors of several lengths, or of none", "choose another model")
    vectors_ND = np.empty((count, len(vectors[0])), np.float32)
    vectors_ND[places] = vectors
    if not np.isfinite(vectors_ND).all():
        raise _refused(who, "with a vector that holds NaN or infinity", "choose another model")
    return vectors_ND


def _vector(value: Any, who: str) -> np.ndarray:
    """Numbers, or base64 of little-endian float32."""
    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
        if isinstance(value, list) and all(type(number) in (int, float) for number in value):
            with np.errstate(over="ignore"):
                return np.array(value, dtype=np.float64).astype(np.float32)
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise _refused(who, "with a vector that is neither numbers nor base64 of float32", "choose another endpoint")


def _refused(who: str, what: str, way_out: str) -> UserError:
    return UserError(f"{who} answered {what}; {way_out}.")
