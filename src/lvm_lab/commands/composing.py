"""Composes configs by Hydra's rules, and turns what Hydra refuses into one sentence; no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from lvm_lab.config.binding import unknown_key
from lvm_lab.config.conf import conf_dir, groups, options_of
from lvm_lab.errors import UserError

# Groups of which several options go together.
LISTS = ("logger", "callbacks")


def check_local(arguments: Sequence[str]) -> None:
    """Raise UserError for own settings that are named and do not exist: Hydra takes the group as optional."""
    for argument in arguments:
        key, _, name = argument.partition("=")
        if key == "local" and name not in ("null", "default") and not (conf_dir() / "local" / f"{name}.yaml").exists():
            raise UserError(f"local={name} does not exist; write {conf_dir() / 'local' / name}.yaml, or leave it out.")


def compose(config_name: str, overrides: Sequence[str], resolved: bool = True) -> dict[str, Any]:
    """The config in plain containers, without Hydra's own part; resolved: with its references looked up."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose(config_name, overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=resolved, throw_on_missing=True)  # type: ignore[return-value]


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose references are looked up."""
    return OmegaConf.to_container(OmegaConf.create(config), resolve=True)  # type: ignore[return-value]


def explain(error: Exception, config_name: str, arguments: Sequence[str]) -> str:
    """One sentence for what we, Hydra, OmegaConf or the machine refused, with the right options or keys."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; mend that and give the same command again."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        typed = group.replace("five_cat", "5cat")
        # Of a group with several options at once Hydra says not which there are.
        options = error.options if error.options is not None else options_of(group)
        return f"{typed}={option} does not exist; choose one of {', '.join(sorted(options))}."
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is no setting; write group=option or key=value, for instance arch=gru."
    if isinstance(error, ConfigCompositionException):
        key = re.search(r"Could not (?:override|append to) '([^']+)'", str(error))
        if key:
            return _unknown(key.group(1), config_name, arguments)
    ambiguous = re.match(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        group, _, options = ambiguous.group(1).partition("=")
        at_once = f", or write {group}=[{options}] for one run with all of them" if group in LISTS else ""
        return f"{ambiguous.group(1)} names several values; put -m before the settings to run them all{at_once}."
    first = str(error).strip().splitlines()[0]
    return f"{first.rstrip('.')}; see --help for the options."


def missing_key(key: str, config: dict[str, Any]) -> str | None:
    """A sentence for a dotted key that `config` does not have; None where it has it."""
    node: Any = config
    known = ""
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            break
        node, known = node[name], f"{known}.{name}".lstrip(".")
    wrong = key[len(known) :].lstrip(".").split(".")[0]
    if not wrong:
        return None
    keys = [str(k) for k in node if k not in ("_target_", "name")] if isinstance(node, dict) else []
    return unknown_key(f"{known}.{wrong}".lstrip("."), keys).replace("five_cat", "5cat")


def _unknown(key: str, config_name: str, arguments: Sequence[str]) -> str:
    """A sentence for an unknown key, from the config as it composes without the settings of single keys."""
    options = [a for a in arguments if a.partition("=")[0] in groups() and "," not in a]
    try:
        node = compose(config_name, options)
    except ConfigCompositionException:
        # A group of another command.
        node = compose(config_name, [])
    sentence = missing_key(key, node)
    group = key.partition(".")[0]
    return sentence or f"{key} cannot be set, because another setting takes {group} away; leave one of them out."
