"""What a config's `_target_` names: where a class that was moved stands now, and the name it has in fingerprints."""

from __future__ import annotations

from typing import Any

TARGET = "_target_"
# What checkpoints and run folders of version 0.1.0 say -> where it stands now.
MOVED = {
    "lvm_lab.data.planted.PlantedWorld": "lvm_lab.data.sources.planted.PlantedWorld",
    "lvm_lab.data.npz_source.Npz": "lvm_lab.data.sources.npz.Npz",
}
FIRST_NAME = {new: old for old, new in MOVED.items()}


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
