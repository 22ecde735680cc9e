"""What a data source's class says of its settings, asked before anything is opened: which are places, which secrets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from lvm_lab.config.data import DataSettings
from lvm_lab.config.targets import TARGET, is_ours, resolve
from lvm_lab.errors import UserError

HIDDEN = "<secret>"
# Keys of a data node that hold for every source, and so are no source's secret.
SHARED = {"name", TARGET, *DataSettings.__dataclass_fields__}


def source_class(node: Mapping[str, Any], load: bool = False) -> type | None:
    """The class that a data node names; None where there is no such class, or nobody vouches for it.

    load: import a class from outside the package too. Only for a config that the user composed: one that was read from
    disk may name any module, and importing it would run its code.
    """
    target = str(node.get(TARGET, ""))
    if not (load or is_ours(dict(node)) or target.rpartition(".")[0] in sys.modules):
        return None
    try:
        return resolve(target, "data.sources", "data", [target])
    except UserError:  # whoever builds the source says what is wrong
        return None


def places(node: Mapping[str, Any], load: bool = False) -> frozenset[str]:
    """The settings that say where vectors lie: no part of what a run computes, which files enter by content."""
    return frozenset(getattr(source_class(node, load), "places", ()))


def secrets(node: Mapping[str, Any], load: bool = False) -> frozenset[str]:
    """The settings that may be written nowhere."""
    return frozenset(getattr(source_class(node, load), "secrets", ()))


def check_secrets(node: Mapping[str, Any]) -> None:
    """UserError for a node that was read from where it was written without its secrets."""
    for name in sorted(secrets(node)):
        if node.get(name) == HIDDEN:
            raise UserError(
                f"data.{name} opens this data and is kept in no file; give it again with data={node.get('name')} and "
                f"data.{name}=..."
            )


def without_secrets(config: dict[str, Any]) -> dict[str, Any]:
    """The config as it may be written down: a run's folder, its checkpoints, loggers and logs get no other."""
    return config | {"data": _hidden(config["data"], secrets(config["data"]))}


def without_secrets_of_failed(config: dict[str, Any], sentence: str) -> tuple[dict[str, Any], str]:
    """The same for a composed config whose source may not have been imported, and for the sentence that says what
    went wrong: where the class cannot be asked, every setting of its own counts as a secret."""
    node = config["data"]
    known = source_class(node, load=True) is not None or TARGET not in node
    names = secrets(node) if known else frozenset(node.keys() - SHARED)
    for value in sorted((str(node[name]) for name in names if node.get(name)), key=len, reverse=True):
        sentence = sentence.replace(value, HIDDEN)
    return config | {"data": _hidden(node, names)}, sentence


def _hidden(node: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {key: HIDDEN if key in names and value is not None else value for key, value in node.items()}
