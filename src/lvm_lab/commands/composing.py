"""Composes configs by Hydra's rules, and turns what Hydra refuses into one sentence; no torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf

from lvm_lab.commands.plain import NO_MEMORY
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


def check_names(arguments: Sequence[str]) -> None:
    """Raise UserError for a setting of nothing, which Hydra asserts that there is none of."""
    for argument in arguments:
        if re.match(r"[+~]*=", argument):
            raise UserError(
                f"{argument!r} has nothing before its =; write group=option or key=value, for instance arch=gru."
            )


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
    if isinstance(error, MemoryError):
        return f"{NO_MEMORY} ({str(error) or 'it did not say for what'}); set smaller data or a smaller arch."
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; mend that and give the same command again."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if not group:
            return f"{option} is no config of the lab; leave --config-name out."
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
    if "Config group override must be a string or a list" in str(error):
        return _no_option(arguments)
    ambiguous = re.match(r"Ambiguous value for argument '([^']+)'", str(error))
    if ambiguous:
        group, _, options = ambiguous.group(1).partition("=")
        at_once = f", or write {group}=[{options}] for one run with all of them" if group in LISTS else ""
        return f"{ambiguous.group(1)} names several values; put -m before the settings to run them all{at_once}."
    first = str(error).strip().splitlines()[0]
    return f"{first.rstrip('.')}; see --help for the options."


def unreadable(arguments: Sequence[str], error: Exception) -> str:
    """One sentence for a YAML file of the user's that cannot be read: which, where, and why."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = getattr(error, "problem", None) or "it ends too early"
        return f"{mark.name}, line {mark.line + 1}, is no YAML ({problem}); mend it there."
    for file in _own_files(arguments):
        try:
            node = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            return f"{file} is no YAML in UTF-8; write it again as text."
        if node is not None and not isinstance(node, dict):
            return f"{file} holds {node!r} where settings are needed; write KEY: VALUE lines."
    return f"a file of settings cannot be read ({' '.join(str(error).split())[:200]}); mend it."


def _own_files(arguments: Sequence[str]) -> list[Path]:
    """The files that a user may have written: conf/local/ and the folders of --config-dir."""
    folders = (conf_dir() / "local", *own_folders(arguments))
    return sorted(file for folder in folders for file in folder.rglob("*.yaml") if file.is_file())


def own_folders(arguments: Sequence[str]) -> list[Path]:
    """The folders that --config-dir and --config-path name."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    named = itertools.pairwise(words)
    return [Path(folder) for flag, folder in named if flag in ("--config-dir", "-cd", "--config-path", "-cp")]


def _no_option(arguments: Sequence[str]) -> str:
    """A sentence for a group that was set to what is no option's name."""
    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if key in groups() and (value in ("", "null") or re.fullmatch(r"[-+.\d]+|true|false", value, re.IGNORECASE)):
            typed = argument.lstrip("+").replace("five_cat", "5cat")
            options = ", ".join(sorted(options_of(key)))
            return f"{typed} names no option; choose {'one or several' if key in LISTS else 'one'} of {options}."
    return "a group is set to what names no option; choose one of those that --help lists."


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
