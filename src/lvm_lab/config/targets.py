"""What a config's `_target_` names: its class, where one that was moved stands now, and its name in fingerprints."""

from __future__ import annotations

import copy
import importlib
import inspect
from typing import Any

from lvm_lab.config import binding
from lvm_lab.errors import UserError

TARGET = "_target_"
# What checkpoints and run folders of version 0.1.0 say -> where it stands now.
MOVED = {
    "lvm_lab.data.planted.PlantedWorld": "lvm_lab.data.sources.planted.PlantedWorld",
    "lvm_lab.data.npz_source.Npz": "lvm_lab.data.sources.npz.Npz",
}
FIRST_NAME = {new: old for old, new in MOVED.items()}


def make(node: dict[str, Any], room: str, setting: str, **parts: Any) -> Any:
    """The object that a node describes: its class, called with the node's values and with `parts`, which code adds.

    room: where the lab's own classes of this kind stand, for instance archs. setting: the node's place in the config.
    Raises UserError, with the setting's name, for what does not bind.
    """
    kind = resolve(node.get(TARGET), room, setting)
    values = {key: value for key, value in node.items() if key != TARGET}
    binding.check(values, kind, setting, parts)
    # An object may keep what it was called with; the config stays as it was recorded.
    return kind(**copy.deepcopy(values), **parts)


def resolve(target: Any, room: str, setting: str) -> type[Any]:
    """The class that a `_target_` names.

    Raises UserError, with the setting's name, for what cannot be imported or is no class.
    """
    name = MOVED.get(target, target) if isinstance(target, str) else ""
    module, _, attribute = name.rpartition(".")
    out = f"name a class, as the options of lvm_lab.{room} do."
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{setting}.{TARGET}={target} cannot be imported ({error}); {out}") from error
    if not inspect.isclass(kind):
        raise UserError(f"{setting}.{TARGET}={target} is no class; {out}")
    return kind


def current(node: Any) -> Any:
    """A config of any version with its targets as they are now."""
    return _renamed(node, lambda target: MOVED.get(target, target))


def identity(node: Any) -> Any:
    """A config as it enters fingerprints: the lab's classes by the name that they had first, so that moving one makes
    no run another; everybody else's by the class's own name, whatever module it stands in."""
    return _renamed(node, _name_in_fingerprints)


def is_ours(node: dict[str, Any]) -> bool:
    """Whether a node builds a class of the lab's own."""
    return str(node.get(TARGET, "")).startswith("lvm_lab.")


def _name_in_fingerprints(target: str) -> str:
    target = MOVED.get(target, target)
    return FIRST_NAME.get(target, target if target.startswith("lvm_lab.") else target.rpartition(".")[2])


def _renamed(node: Any, rename: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: rename(value) if key == TARGET and isinstance(value, str) else _renamed(value, rename)
            for key, value in node.items()
        }
    return [_renamed(item, rename) for item in node] if isinstance(node, list | tuple) else node
