"""Holds a config node against the signature it will be called with, before anything is built; no torch."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from lvm_lab.errors import UserError

# The whole numbers that files, generators and frameworks hold alike.
LARGEST_INT = 2**63 - 1


def check(node: dict[str, Any], target: Callable[..., Any], path: str, supplied: Iterable[str] = ()) -> None:
    """Raise UserError where a key of `node` is unknown, missing or of a wrong type for `target`.

    path: the node's place in the config, for the sentence; empty for the config itself. supplied: parameters that code
    passes.
    """
    parameters = {
        name: p
        for name, p in inspect.signature(target).parameters.items()
        if name not in ("self", *supplied) and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    hints = _hints(target)
    for name, value in node.items():
        if name not in parameters:
            raise UserError(unknown_key(key_of(path, name), parameters))
        hint = hints.get(name, Any)
        if not fits(value, hint):
            raise UserError(misfit(key_of(path, name), value, hint))
    for name, parameter in parameters.items():
        if name not in node and parameter.default is parameter.empty:
            key = key_of(path, name)
            raise UserError(f"{key} is missing; set it, for instance on the command line: {key}=...")


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """The types of a target's parameters."""
    if not inspect.isclass(target):
        return typing.get_type_hints(target)
    # The generated constructor has the words of fields that another module's class may have declared; the class
    # itself knows where each is from.
    generated = getattr(vars(target).get("__dataclass_params__"), "init", False)
    return typing.get_type_hints(target if generated else target.__init__)


def dataclass_from(cls: type[Any], node: dict[str, Any], path: str) -> Any:
    """A (nested) dataclass from a config node, every value held against its type."""
    hints = typing.get_type_hints(cls)
    values = dict(node)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(values.get(field.name), dict):
            values[field.name] = dataclass_from(
                typing.cast(type[Any], hint), values[field.name], key_of(path, field.name)
            )
    check(values, cls, path)
    return cls(**values)


def key_of(path: str, name: str) -> str:
    """What a user types to set `name` of the node at `path`."""
    return f"{path}.{name}" if path else name


def unknown_key(key: str, known: Iterable[str]) -> str:
    """A sentence for a key that does not exist, with the right ones and the likely one first."""
    known = sorted(known)
    path, _, name = key.rpartition(".")
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    where = f"in {path}" if path else "at the top"
    return f"{key} does not exist{meant}; {where} there are {', '.join(known) or 'no others'}."


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain config value may be passed where `hint` is asked for."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if origin in (list, tuple):
        inner = typing.get_args(hint)[0]
        return isinstance(value, list | tuple) and all(fits(item, inner) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint is float:
        # Neither nan nor what overflows; numpy takes a whole number for an int64 before it is a float.
        most = LARGEST_INT if isinstance(value, int) else sys.float_info.max
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INT
    if hint is str:
        # No file's name may hold it, and the system says so in words of its own.
        return isinstance(value, str) and "\0" not in value
    return isinstance(value, hint) if inspect.isclass(hint) else True


def misfit(key: str, value: Any, hint: Any) -> str:
    """A sentence for a value that may not be passed where `hint` is asked for."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{key}={value!r} does not fit; give it a finite number."
    if isinstance(value, int) and abs(value) > LARGEST_INT:
        return f"{key}={value!r} does not fit; give it a number up to {LARGEST_INT}."
    if isinstance(value, str) and "\0" in value:
        return f"{key}={value!r} does not fit; give it a text without the character NUL."
    return f"{key}={written(value)} does not fit; give it {describe(hint)}."


def written(value: Any) -> str:
    """A value as it is told: null as people type it, all else as Python writes it."""
    return "null" if value is None else repr(value)


def describe(hint: Any) -> str:
    """A type in a user's words."""
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return f"its keys ({', '.join(field.name for field in dataclasses.fields(hint))})"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "null"}
    return names.get(
        hint, "a list" if typing.get_origin(hint) in (list, tuple) else getattr(hint, "__name__", str(hint))
    )
