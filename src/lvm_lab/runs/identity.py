"""What makes two runs one: the fingerprint over what a config computes, files entering by content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lvm_lab.config import sources, targets
from lvm_lab.config.conf import spell_back
from lvm_lab.config.mix import MIX, paths_of
from lvm_lab.config.presets import GATES
from lvm_lab.config.settings import NO_STRATEGY
from lvm_lab.errors import UserError

# What changes where and how a run runs, not what it computes.
NOT_HASHED = ("device", "logger", "run", "callbacks", "sweep")
# Options that older configs lack, by dotted key: at this default they change nothing, and so enter nothing.
ADDED: dict[str, Any] = {
    "five_cat.gates": list(GATES),
    "data.windows": "sliding",
    "data.min_context": None,
    "data.judge_from": 16,
    "data.tmd": None,
    "data.first": None,
    "data.texts": False,
    "trainer.accumulate": 1,
    "trainer.ema": None,
    "strategy": NO_STRATEGY,
    "head.mix": "fixed",
}
_NOT_ADDED = object()
# Single settings of the kind of NOT_HASHED, whatever their value.
_ANY = object()
WHEN_SAVED = "trainer.checkpoint.every_minutes"
# Settings of an arch that name files, and what their digests are called in a run's content.
ARCH_PATHS = ("members", "weights")
ARCH_CONTENT = ("member_", "weights_")
# The same of trainer: whose weights a training begins with.
ORIGINS = ("init_from", "continue_from")
# What the digest of the codes that a model is conditioned on is called in a run's content.
CODES = "tmd"
# Keys of data that change neither vectors nor parts.
TRAINING_ALONE = ("max_per_doc", "gate", "tmd")


def fingerprint(config: dict[str, Any], content: dict[str, str]) -> str:
    """sha256 over the resolved config, the data entering by content and never by path."""
    hashed = computing(config)
    hashed["data"] = hashed["data"] | {"content": content}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()


def computing(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that says what a run computes, without the files that it reads."""
    kept = {k: targets.identity(v) for k, v in config.items() if k not in (*NOT_HASHED, "identity")}
    # What an arch reads from files stands in a fingerprint's content by their hashes.
    kept["arch"] = {k: v for k, v in kept.get("arch", {}).items() if k not in ARCH_PATHS}
    kept["data"] = {k: v for k, v in kept.get("data", {}).items() if k not in left_out(config)}
    if isinstance(kept.get("trainer"), dict):
        kept["trainer"] = {k: v if k not in ORIGINS else True for k, v in _given(kept["trainer"]).items()}
    kept = _without(without_added(kept), WHEN_SAVED.split("."), _ANY)
    foreign = _foreign(config.get("callbacks") or {})
    return kept | ({"callbacks": foreign} if foreign else {})


def _given(trainer: dict[str, Any]) -> dict[str, Any]:
    """Settings of a trainer without the files that it is not given."""
    return {k: v for k, v in trainer.items() if k not in ORIGINS or v is not None}


def without_added(config: dict[str, Any]) -> dict[str, Any]:
    """A config, or groups of one, without the options that older ones lack, where these are at their defaults."""
    for key, default in ADDED.items():
        config = _without(config, key.split("."), default)
    return config


def _without(node: dict[str, Any], path: list[str], default: Any) -> dict[str, Any]:
    """A copy of `node` without a value that is the default; _ANY: whatever it is."""
    first, *rest = path
    if first not in node or (rest and not isinstance(node[first], dict)):
        return node
    if rest:
        return node | {first: _without(node[first], rest, default)}
    if default is not _ANY and node[first] != default:
        return node
    return {key: value for key, value in node.items() if key != first}


def _foreign(callbacks: dict[str, Any]) -> list[Any]:
    """A user's own callbacks by class and arguments, whatever they are called; the lab's own change no numbers."""
    nodes = [node for node in callbacks.values() if isinstance(node, dict) and not targets.is_ours(node)]
    return sorted((targets.identity(node) for node in nodes), key=lambda node: json.dumps(node, sort_keys=True))


def check_own(file: Path, own: dict[str, Any], recorded: dict[str, Any]) -> None:
    """UserError for a checkpoint that another run wrote than the one in whose folder it lies.

    own: what the checkpoint says of itself: its config and, since they are written, its run's fingerprint. recorded:
    the config of the folder, with its identity. Nothing is imported.
    """
    identity = recorded.get("identity")
    if not isinstance(identity, dict) or not isinstance(identity.get("fingerprint"), str):
        return
    alike = targets.current(own["config"]) | {"identity": identity}
    # An older checkpoint says nothing of its data: the folder's stand for them.
    by_config = fingerprint(alike, identity.get("content") or {})
    written = own.get("fingerprint", by_config)
    same_config = by_config == identity["fingerprint"] or fingerprint(alike, {}) == fingerprint(recorded, {})
    if same_config and (written == identity["fingerprint"] or "fingerprint" not in own):
        return
    raise UserError(
        f"{file} is of another run ({title(own['config'])}-{str(written)[:8]}) than its folder "
        f"({title(recorded)}-{identity['fingerprint'][:8]}); put it back where it was written, or train that folder's "
        "run again with run.force=true."
    )


def difference(there: Any, here: Any, path: str = "") -> str | None:
    """The first setting in which two configs differ, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in (*there, *(k for k in here if k not in there)):
            first = difference(there.get(key), here.get(key), f"{path}.{key}".lstrip("."))
            if first:
                return spell_back(first)
        return None
    # As the fingerprint sees it, a list is a tuple; 0 and 0.0 make two fingerprints, and compute the same.
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (there, here))
    if json.dumps(there) == json.dumps(here) or (numbers and there == here):
        return None
    return f"{path} is {there} there and {here} here"


def title(config: dict[str, Any]) -> str:
    """What a run is called: arch, loss and data, and a strategy where it has one."""
    names = [str(config.get(group, {}).get("name")) for group in ("arch", "loss", "data")]
    strategy = config.get("strategy", NO_STRATEGY)
    return "-".join(names if strategy == NO_STRATEGY else [*names, str(strategy.get("name"))])


def left_out(config: dict[str, Any]) -> list[str]:
    """The keys of data that enter no fingerprint: its source's places and secrets.

    A run's folder records them, and one that was written before it did is of the lab's own sources: no config that is
    read from disk has a module of somebody else's imported.
    """
    recorded = config.get("identity")
    if isinstance(recorded, dict) and isinstance(recorded.get("left_out"), list):
        return recorded["left_out"]
    node, composed = config.get("data", {}), "identity" not in config
    return sorted(sources.places(node, load=composed) | sources.secrets(node, load=composed))


def ground(config: dict[str, Any], content: dict[str, str]) -> dict[str, Any]:
    """What VAL is made of: numbers of two runs compare where it is the same, whatever they were trained on.

    A validation set of its own stands whole; otherwise VAL is cut from what is split, by the fold. Out-of-domain
    vectors, and weights that come from files, are none of it.
    """
    if "val" in content:
        return {"val": content["val"]}
    read = {k: v for k, v in of_data(content).items() if k not in ("ood", MIX)}
    return read | {"fold": config.get("data", {}).get("fold")}


def of_data(content: dict[str, str]) -> dict[str, str]:
    """A run's content without the weights that it reads from files, and without codes: vectors and parts alone."""
    own = {name: digest for name, digest in content.items() if name != CODES}
    return {name: digest for name, digest in own.items() if not name.startswith((*ARCH_CONTENT, *ORIGINS))}


def as_cut(data: dict[str, Any]) -> dict[str, Any]:
    """What a data node says of vectors and of their parts, without what concerns training alone.

    The order of several stores counts for nothing.
    """
    left_out = (*TRAINING_ALONE, *sources.secrets(data))
    kept = {k: v for k, v in data.items() if k not in left_out and v != ADDED.get(f"data.{k}", _NOT_ADDED)}
    unordered = {key: sorted(paths_of(kept[key])) for key in sources.places(data) if isinstance(kept.get(key), list)}
    return targets.current(kept) | unordered


def reads_files(config: dict[str, Any]) -> bool:
    """Whether what a run computes hangs on files too, so that its config alone does not say it."""
    nodes = ((config["arch"], ARCH_PATHS), (config["data"], left_out(config)), (config.get("trainer") or {}, ORIGINS))
    return any(node.get(key) for node, keys in nodes for key in keys)
