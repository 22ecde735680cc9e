"""Contexts out of a body and predictions into an answer: JSON, raw float32, or .npy without pickle.

Shape suffixes: L context length, D vector dim, S steps, C contexts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from fastapi import Response
from pydantic import BaseModel, TypeAdapter, ValidationError

from lvm_lab.serving.refusal import Refusal
from lvm_lab.serving.served import Facts

RAW, NPY, JSON = "application/octet-stream", "application/x-npy", "application/json"
SHAPE = "x-shape"
MOST_AXES = 3
# Of an axis; the product of some of more digits could not be written in a sentence.
LARGEST = 2**63 - 1
B = TypeVar("B", bound=BaseModel)
_VECTORS: TypeAdapter[Any] = TypeAdapter(dict[str, Any])


def parsed(kind: type[B], content: bytes) -> B:
    """A body of JSON, held against its fields by the same library that reads it, which is several times as fast as one
    after the other. Raises Refusal."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise Refusal(422, first_of(error.errors(include_url=False, include_input=False))) from None


def first_of(errors: Sequence[Any]) -> str:
    """What is wrong with a body first, as a sentence; of what fits none of several kinds, where it comes farthest."""
    first = max(errors, key=lambda one: len(one["loc"]))
    if first["type"] in ("json_invalid", "json_type"):
        return f"the body is no JSON ({first.get('ctx', {}).get('error', first['msg'])}); send a JSON object."
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{place or 'the body'} does not fit ({first['msg']}); /docs shows what is taken."


def options(kind: type[B], query: Mapping[str, str], field: str) -> B:
    """What a binary body cannot say stands in the address. field: the one that the body is."""
    given: dict[str, Any] = dict(query)
    if "steps" in given:
        try:
            given["steps"] = int(given["steps"])
        except ValueError:
            raise Refusal(422, "steps does not fit; give a whole number.") from None
    if field in given:
        raise Refusal(422, f"{field} is the body; leave it out of the address.")
    # Stands for the vectors, which are looked at as an array.
    blank: Any = [[0.0]] if field == "context_vectors" else [[[0.0]]]
    try:
        return kind.model_validate(given | {field: blank})
    except ValidationError as error:
        raise Refusal(422, first_of(error.errors(include_url=False, include_input=False))) from None


def array(media: str, content: bytes, headers: Mapping[str, str]) -> np.ndarray:
    """The array of a binary body, float32. Raises Refusal."""
    return _of_npy(content) if media == NPY else _of_raw(content, headers.get(SHAPE, ""))


def _of_raw(content: bytes, words: str) -> np.ndarray:
    try:
        shape = tuple(int(word) for word in words.split(","))
    except ValueError:
        shape = ()
    if not 2 <= len(shape) <= MOST_AXES or not all(1 <= size <= LARGEST for size in shape):
        raise Refusal(422, "X-Shape does not say the dims of the vectors; send it like X-Shape: 5,768.")
    if 4 * math.prod(shape) != len(content):
        raise Refusal(
            422, f"X-Shape is of {4 * math.prod(shape)} bytes and the body has {len(content)}; send float32 alone."
        )
    return np.frombuffer(content, dtype="<f4").reshape(shape).astype(np.float32, copy=False)


def _of_npy(content: bytes) -> np.ndarray:
    """Its header is read first, so that no more memory is taken than the body has bytes."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except Exception:  # NumPy parses it as Python, which fails in many ways
        raise Refusal(422, "the body is no .npy file; send what numpy.save writes.") from None
    # A header may have True for a size, or one below 0.
    axes = 2 <= len(shape) <= MOST_AXES and all(type(size) is int and size > 0 for size in shape)
    if dtype.kind != "f" or not axes:
        raise Refusal(422, f"the array is of {dtype} and shape {shape}; send floats of 2 or 3 dims.")
    if dtype.itemsize * math.prod(shape) != len(content) - file.tell():
        raise Refusal(422, "the array is not as long as its header says; send what numpy.save writes.")
    values = np.frombuffer(content, dtype=dtype, offset=file.tell())
    with np.errstate(over="ignore"):
        return values.reshape(shape, order="F" if fortran else "C").astype(np.float32)


def rows(given: Any, width: int, what: str) -> np.ndarray:
    """Vectors as float32, held against the width that is wanted. Raises Refusal."""
    try:
        with np.errstate(over="ignore"):
            vectors_LD = np.asarray(given, dtype=np.float32)
    except (ValueError, OverflowError):
        raise Refusal(422, f"{what} has rows of different lengths; each needs {width} numbers.") from None
    if vectors_LD.ndim != 2:
        raise Refusal(422, f"{what} has {vectors_LD.ndim} dims; it is of two: vectors, numbers.")
    if vectors_LD.shape[1] != width:
        raise Refusal(422, f"{what} has vectors of {vectors_LD.shape[-1]} numbers and the model reads {width}.")
    if not np.isfinite(vectors_LD).all():
        raise Refusal(422, f"{what} holds numbers that are not finite in float32; send finite ones.")
    return vectors_LD


def context(given: Any, facts: Facts, what: str = "context_vectors") -> np.ndarray:
    """A context that the model may be asked of. Raises Refusal."""
    most = facts.context_length
    if not 1 <= len(given) <= most:
        raise Refusal(422, f"{what} has {len(given)} vectors and {facts.name} reads 1 to {most}; send the last {most}.")
    return rows(given, facts.width, what)


def answer(media: str, vectors: np.ndarray, facts: Facts, content: dict[str, Any], key: str) -> Response:
    """Predictions in the form of the request: arrays as they came, or JSON with the array under a key."""
    # Folders that others made may have names that no header takes.
    headers = {"x-model": quote(facts.name), "x-version": quote(facts.version)}
    if media == RAW:
        raw = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
        return Response(raw, media_type=RAW, headers=headers | {SHAPE: ",".join(map(str, vectors.shape))})
    if media == NPY:
        file = io.BytesIO()
        np.lib.format.write_array(file, np.ascontiguousarray(vectors), allow_pickle=False)
        return Response(file.getvalue(), media_type=NPY, headers=headers)
    return Response(_VECTORS.dump_json(content | {key: vectors.tolist()}), media_type=JSON, headers=headers)
