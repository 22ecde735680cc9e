"""A plain JSON value as a typed one: a dataclass, a dict or a list of them, or what it is; no torch."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable
from typing import Any

from lvm_lab.config import binding


class Misfit(ValueError):
    """A value that is not what its key asks for. Its text says so, and begins with the key."""


def typed(kind: Any, value: Any, key: str) -> Any:
    """A plain JSON value as what `kind` says: a dataclass, a dict or a list of them, or itself.

    Keys that a dataclass does not have are left out. Raises Misfit, which begins with the key.
    """
    try:
        return _reader(kind)(value)
    except Misfit as error:
        raise Misfit(f"{key}{error}".lstrip(".")) from None


Reader = Callable[[Any], Any]


@functools.cache
def _reader(kind: Any) -> Reader:
    """What turns a JSON value into `kind`; made once for each, since a board of runs has a million of values."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    if kind is Any:
        return lambda value: value
    if origin is dict:
        return _dict_reader(_reader(typing.get_args(kind)[1]))
    if origin is list:
        return _list_reader(_reader(typing.get_args(kind)[0]))
    if origin is types.UnionType:
        (some,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
        reader = _reader(some)
        return lambda value: None if value is None else reader(value)

    # What most values are is told without a further look.
    exact = kind if kind in (bool, float, str) else None

    def plain(value: Any) -> Any:
        # NaN and the infinities are floats too.
        if (type(value) is exact and (kind is not float or math.isfinite(value))) or binding.fits(value, kind):
            return value
        raise Misfit(f" is {_short(value)}, not {binding.describe(kind)}")

    return plain


def _dataclass_reader(kind: Any) -> Reader:
    hints, absent = typing.get_type_hints(kind), dataclasses.MISSING
    fields = dataclasses.fields(kind)
    needed = [f.name for f in fields if f.default is absent and f.default_factory is absent]
    readers = {f.name: _reader(hints[f.name]) for f in fields}

    def read(node: Any) -> Any:
        _check_mapping(node)
        for name in needed:
            if name not in node:
                raise Misfit(f".{name} is missing")
        return kind(**_each({name: readers[name] for name in node if name in readers}, node))

    return read


def _dict_reader(reader: Reader) -> Reader:
    def read(node: Any) -> Any:
        _check_mapping(node)
        return _each(dict.fromkeys(node, reader), node)

    return read


def _list_reader(reader: Reader) -> Reader:
    def read(items: Any) -> Any:
        if not isinstance(items, list):
            raise Misfit(f" is {_short(items)}, not a list")
        return [reader(item) for item in items]

    return read


def _each(readers: dict[str, Reader], node: dict[str, Any]) -> dict[str, Any]:
    """The node's values by name, each as its reader makes it; a misfit inside begins with its name."""
    values = {}
    for name, reader in readers.items():
        try:
            values[name] = reader(node[name])
        except Misfit as error:
            raise Misfit(f".{name}{error}") from None
    return values


def _check_mapping(node: Any) -> None:
    if not isinstance(node, dict):
        raise Misfit(f" is {_short(node)}, not a mapping")


def _short(value: Any) -> str:
    """A value in a sentence, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
