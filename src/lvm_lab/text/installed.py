"""Libraries of extras, which come in only where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lvm_lab.errors import UserError


def needed(module: str, extra: str = "text") -> Any:
    """A module that needs an extra; UserError where a package of it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise UserError(f"{package} is not installed; pip install lvm_lab[{extra}] brings it.") from error
