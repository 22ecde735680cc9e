"""What a config's `_target_` names: its class, where one that was moved stands now, and its name in fingerprints."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lvm_lab.config import binding
from lvm_lab.errors import UserError

TARGET = "_target_"
OURS = "lvm_lab."
WAYS_TO_ALLOW = (
    "run.allow=[PACKAGE] in a training, allow=[PACKAGE] in evaluate, --allow PACKAGE in diagnose, "
    "allow=[PACKAGE] in lvm_lab.load"
)
# What checkpoints and run folders of version 0.1.0 say -> where it stands now.
MOVED = {
    "lvm_lab.data.planted.PlantedWorld": "lvm_lab.data.sources.planted.PlantedWorld",
    "lvm_lab.data.npz_source.Npz": "lvm_lab.data.sources.npz.Npz",
}
FIRST_NAME = {new: old for old, new in MOVED.items()}


@dataclass(frozen=True)
class Contract:
    """What a class of a room has to be.

    noun: what it is called. base: the class that it derives from, by its whole name, so that nobody has to import it
    here. methods: what the class has. attributes: what an object of it has once it is made. way: how to make it one.
    """

    noun: str
    base: str = "builtins.object"
    methods: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    way: str = ""


MODULE = "torch.nn.modules.module.Module"
# By room: where the lab's own classes of a kind are defined.
CONTRACTS = {
    "archs": Contract(
        "arch", MODULE, ("forward",), ("causal", "width"), "derive it from torch.nn.Module and give it causal and width"
    ),
    "heads": Contract("head", "lvm_lab.nn.head.Head", ("forward",), way="derive it from lvm_lab.nn.head.Head"),
    "losses": Contract(
        "loss term", MODULE, ("forward",), ("needs",), "derive it from torch.nn.Module and say what it needs"
    ),
    "data.sources": Contract(
        "data source", "lvm_lab.data.source.Source", ("open",), way="derive it from lvm_lab.data.source.Source"
    ),
    "text.readers": Contract(
        "reader",
        "lvm_lab.text.reader.Reader",
        ("documents", "content", "origins"),
        way="derive it from lvm_lab.text.reader.Reader",
    ),
    "text.chunkers": Contract(
        "chunker", "lvm_lab.text.chunker.Chunker", ("chunk",), way="derive it from lvm_lab.text.chunker.Chunker"
    ),
    "text.encoders": Contract(
        "encoder",
        "lvm_lab.text.encoder.Encoder",
        ("contract", "encode", "tokens"),
        way="derive it from lvm_lab.text.encoder.Encoder",
    ),
    "text.decoders": Contract(
        "decoder",
        "lvm_lab.text.decoder.Decoder",
        ("open", "contract", "decode"),
        way="derive it from lvm_lab.text.decoder.Decoder",
    ),
    "text.smoothers": Contract(
        "smoother",
        "lvm_lab.text.smoother.Smoother",
        ("__call__",),
        way="derive it from lvm_lab.text.smoother.Smoother",
    ),
    "text.tmd": Contract(
        "coder", "lvm_lab.text.coder.Coder", ("codes",), way="derive it from lvm_lab.text.coder.Coder"
    ),
    "data.indices": Contract(
        "kind of index", "lvm_lab.data.index_kind.Kind", way="derive it from lvm_lab.data.index_kind.Kind"
    ),
    "judge.gates": Contract("Gate", "lvm_lab.judge.gate.Gate", way="derive it from lvm_lab.judge.gate.Gate"),
    "judge.baselines": Contract(
        "Baseline", "lvm_lab.judge.baseline.Baseline", way="derive it from lvm_lab.judge.baseline.Baseline"
    ),
    "loggers": Contract(
        "logger",
        methods=("begin", "again", "row", "result", "close"),
        way="give it begin, again, row, result and close, as lvm_lab.loggers.base.Logger has them",
    ),
    "training.strategies": Contract(
        "strategy",
        "lvm_lab.training.strategies.base.Strategy",
        ("stages", "objective"),
        way="derive it from lvm_lab.training.strategies.base.Strategy",
    ),
    "training.callbacks": Contract(
        "callback of Lightning", "pytorch_lightning.callbacks.callback.Callback", way="derive it from Callback"
    ),
}


def make(node: dict[str, Any], room: str, setting: str, *, allow: Iterable[str] = (), **parts: Any) -> Any:
    """The object that a node describes: its class, called with the node's values and with `parts`, which code adds.

    room: where the lab's own classes of this kind stand, for instance archs. setting: the node's place in the config.
    allow: as in `resolve`. Raises UserError, with the setting's name, for what does not bind.
    """
    target = node.get(TARGET)
    kind = resolve(target, room, setting, allow)
    values = {key: value for key, value in node.items() if key != TARGET}
    binding.check(values, kind, setting, parts)
    # An object may keep what it was called with; the config stays as it was recorded.
    instance = kind(**copy.deepcopy(values), **parts)
    contract = CONTRACTS[room]
    for attribute in contract.attributes:
        if not hasattr(instance, attribute):
            raise UserError(f"{setting}.{TARGET}={target} has no {attribute}; {contract.way}.")
    return instance


def resolve(target: Any, room: str, setting: str, allow: Iterable[str] = ()) -> type[Any]:
    """The class that a `_target_` names, if it is one of the room's kind.

    Nothing is imported but modules of the lab's own room and, of other packages, what `allow` names: packages and
    targets that the caller vouches for. What was read from a disk may never allow itself anything.
    Raises UserError, with the setting's name, for what is not allowed, cannot be imported or is of another kind.
    """
    name = MOVED.get(target, target) if isinstance(target, str) else ""
    module, _, attribute = name.rpartition(".")
    place, own = f"{setting}.{TARGET}={target}", name.startswith(OURS)
    out = f"name a class, as the options of {OURS}{room} do."
    if own and not _within(name, f"{OURS}{room}"):
        raise UserError(f"{place} is no {CONTRACTS[room].noun} of lvm_lab; {out}")
    package = f"{OURS}{room}" if own else _allowed(name, allow)
    if name and package is None:
        raise UserError(
            f"{place} is of a package that is not allowed here, because a file names it and not you; if you trust it, "
            f"allow {name.partition('.')[0]}: {WAYS_TO_ALLOW}."
        )
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise UserError(f"{place} cannot be imported ({error}); {out}") from error
    if not inspect.isclass(kind):
        raise UserError(f"{place} is no class; {out}")
    defined = (kind.__module__, kind.__qualname__) == (module, attribute) if own else _within(kind.__module__, package)
    if not defined:
        whole = f"{kind.__module__}.{kind.__qualname__}"
        raise UserError(f"{place} is defined elsewhere, as {whole}; name it by that, or {out}")
    _check_contract(kind, CONTRACTS[room], place)
    return kind


def named(node: Any) -> frozenset[str]:
    """Every target in a config that the user composed: what it names is allowed by the user's own word."""
    if isinstance(node, dict):
        own = {value for key, value in node.items() if key == TARGET and isinstance(value, str)}
        return frozenset(own).union(*map(named, node.values()))
    return frozenset().union(*map(named, node)) if isinstance(node, list | tuple) else frozenset()


def _allowed(name: str, allow: Iterable[str]) -> str | None:
    """The package in which the class of an allowed target has to be defined."""
    for entry in (allow,) if isinstance(allow, str) else allow:
        if name == entry:
            return name.partition(".")[0]
        if _within(name, entry):
            return entry
    return None


def _within(name: str, package: str | None) -> bool:
    return package is not None and (name == package or name.startswith(f"{package}."))


def _check_contract(kind: type[Any], contract: Contract, place: str) -> None:
    bases = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    if contract.base not in bases or not all(callable(getattr(kind, name, None)) for name in contract.methods):
        raise UserError(f"{place} is no {contract.noun}; {contract.way}.")


def current(node: Any) -> Any:
    """A config of any version with its targets as they are now."""
    return _renamed(node, lambda target: MOVED.get(target, target))


def identity(node: Any) -> Any:
    """A config as it enters fingerprints: the lab's classes by the name that they had first, so that moving one makes
    no run another; everybody else's by the class's own name, whatever module it stands in."""
    return _renamed(node, _name_in_fingerprints)


def is_ours(node: dict[str, Any]) -> bool:
    """Whether a node builds a class of the lab's own."""
    return str(node.get(TARGET, "")).startswith(OURS)


def _name_in_fingerprints(target: str) -> str:
    target = MOVED.get(target, target)
    return FIRST_NAME.get(target, target if target.startswith(OURS) else target.rpartition(".")[2])


def _renamed(node: Any, rename: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: rename(value) if key == TARGET and isinstance(value, str) else _renamed(value, rename)
            for key, value in node.items()
        }
    return [_renamed(item, rename) for item in node] if isinstance(node, list | tuple) else node
