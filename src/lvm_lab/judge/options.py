"""Finds a gate or a baseline by the stem of its file here, or by the `_target_` of a user's own class; no torch."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from lvm_lab.config import binding
from lvm_lab.config.targets import TARGET, resolve
from lvm_lab.errors import UserError

T = TypeVar("T")


def stems(package: str) -> list[str]:
    """The options that a package has, by file name; files that begin with _ are none."""
    paths = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))


def by_stem(package: str, stem: str, kind: type[T], setting: str = "") -> type[T]:
    """The one class of `kind` that `package`'s file `stem` defines; UserError as in `check_stem`."""
    check_stem(package, stem, setting)
    (option,) = _classes(importlib.import_module(f"{package}.{stem}"), kind)
    return option


def check_stem(package: str, stem: str, setting: str) -> None:
    """UserError, which names `setting`, where `package` has no file `stem`; the file is not imported."""
    if stem not in stems(package):
        raise UserError(
            f"{setting} names {stem}, which does not exist; choose among {', '.join(stems(package))}, "
            f"or give {{{TARGET}: my_package.MyClass}}."
        )


def by_target(
    node: Any, room: str, path: str, call: str | None = None, supplied: tuple[str, ...] = ()
) -> tuple[type[Any], dict[str, Any]]:
    """A user's class and the arguments that its node holds beside `_target_`; the user composed the node.

    room: where the lab's own classes of this kind stand.
    call: the method that takes the arguments, which also gets those `supplied` by code; without it the class itself.
    Raises UserError where there is no such class, or the arguments do not fit it.
    """
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    if not isinstance(target, str):
        raise UserError(f"{path}={node!r} does not fit; give it a name or {{{TARGET}: my_package.MyClass}}.")
    option = resolve(target, room, path, [target])
    arguments = {name: value for name, value in node.items() if name != TARGET}
    taker: Callable[..., Any] = getattr(option, call, option) if call else option
    binding.check(arguments, taker, path, supplied)
    return option, arguments


def _classes(module: ModuleType, kind: type[T]) -> list[type[T]]:
    classes = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, kind)]
    return [value for value in classes if value.__module__ == module.__name__]
