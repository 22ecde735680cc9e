"""The class that a `_target_` names, in the lab or in a user's own package, and its object."""

from __future__ import annotations

import copy
import importlib
import inspect
from typing import Any

from lvm_lab.config import binding
from lvm_lab.config.targets import TARGET
from lvm_lab.errors import UserError


def make(node: dict[str, Any], room: str, setting: str, **parts: Any) -> Any:
    """The object that a node describes: its class, called with the node's values and with `parts`, which code adds."""
    kind = resolve(node.get(TARGET), room, setting)
    values = {key: value for key, value in node.items() if key != TARGET}
    binding.check(values, kind, setting, parts)
    return kind(**copy.deepcopy(values), **parts)


def resolve(target: Any, room: str, setting: str) -> type[Any]:
    """The class that a `_target_` names. room: where the lab's own of this kind stand; setting: the node's place.

    Raises UserError, with the setting's name, for what cannot be imported or is no class.
    """
    module, _, attribute = target.rpartition(".") if isinstance(target, str) else ("", "", "")
    out = f"name a class, as the options of lvm_lab.{room} do."
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{setting}.{TARGET}={target} cannot be imported ({error}); {out}") from error
    if not inspect.isclass(kind):
        raise UserError(f"{setting}.{TARGET}={target} is no class; {out}")
    return kind
