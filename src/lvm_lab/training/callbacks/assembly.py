"""Makes a run's callbacks from the node `callbacks` of its config, in the order that they declare."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from lvm_lab.config import binding
from lvm_lab.config.targets import TARGET, make, named, resolve
from lvm_lab.errors import UserError
from lvm_lab.training._lightning import pl
from lvm_lab.training.callbacks.base import OWN, RunContext

# Without one of these a run is another, or cannot be resumed or scored; the rest only shows or adds numbers.
REQUIRED = ("reseed", "divergence", "plateau", "five_cat", "history", "checkpoints")
ROOM = "training.callbacks"
CONTEXT = tuple(field.name for field in fields(RunContext))


def check(nodes: Any) -> None:
    """Raise UserError for a class that is no callback or takes something else, and where one lacks that a run needs."""
    nodes = nodes or {}
    for name in REQUIRED:
        if name not in nodes:
            raise UserError(
                f"callbacks.{name} is missing, and a run needs it; list the lab's beside your own, "
                "callbacks=[default,mine]."
            )
    for name, node in nodes.items():
        setting = f"callbacks.{name}"
        cls = _class(node, setting)
        binding.check({k: v for k, v in node.items() if k != TARGET}, cls, setting, _from_context(cls, node))


def assemble(nodes: dict[str, Any], context: RunContext) -> list[pl.Callback]:
    """The callbacks of a run, from the lowest priority to the highest; equal ones in the order of their names.

    A callback gets what its node says, and of the context what its parameters name.
    """
    callbacks = {}
    for name, node in nodes.items():
        cls = _class(node, f"callbacks.{name}")
        parts = {parameter: getattr(context, parameter) for parameter in _from_context(cls, node)}
        callbacks[name] = make(node, ROOM, f"callbacks.{name}", allow=named(node), **parts)
    return [callbacks[name] for name in sorted(callbacks, key=lambda name: (_priority(callbacks[name]), name))]


def _class(node: Any, setting: str) -> type[pl.Callback]:
    if not isinstance(node, dict) or TARGET not in node:
        raise UserError(
            f"{setting} is no callback; give it its class, for instance in a file callbacks/mine.yaml the line "
            f"`mine: {{{TARGET}: my_package.Mine}}`."
        )
    return resolve(node[TARGET], ROOM, setting, named(node))


def _from_context(cls: type[pl.Callback], node: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(cls).parameters if name in CONTEXT and name not in node)


def _priority(callback: pl.Callback) -> int:
    return getattr(callback, "priority", OWN)
