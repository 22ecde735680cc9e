"""Composes configs by Hydra's rules, and turns what Hydra refuses into one sentence; no torch."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from lvm_lab.commands.plain import NO_MEMORY
from lvm_lab.commands.values import quoted
from lvm_lab.config.binding import unknown_key
from lvm_lab.config.conf import conf_dir, groups, options_of, spell_back
from lvm_lab.config.paths import expand_all
from lvm_lab.config.yaml_files import no_yaml
from lvm_lab.errors import UserError

# Groups of which several options go together.
LISTS = ("logger", "callbacks")
LOCAL = "local@_global_"
EACH = "add -m to run them all"
# What takes less memory, of commands that train nothing.
SMALLER = {
    "ingest": "set a smaller block, fewer threads or shards at once, or an encoder of fewer dims",
    "verify": "set a smaller sample",
    "tmd": "take an encoder of fewer dims",
    "index": "take index=pq, or index a smaller store",
}


def check_local(arguments: Sequence[str]) -> None:
    """Raise UserError for own settings that are named and do not exist: Hydra takes the group as optional."""
    for argument in arguments:
        key, _, name = argument.lstrip("+").partition("=")
        if key != LOCAL or name in ("default", "evaluate", "ingest", "index"):
            continue
        if name in ("", "null"):
            raise UserError(f"local={name} names no settings of your own; write local=NAME, or leave it out.")
        if not any((folder / "local" / f"{name}.yaml").is_file() for folder in (conf_dir(), *own_folders(arguments))):
            raise UserError(f"local={name} does not exist; write {conf_dir() / 'local' / name}.yaml, or leave it out.")


def check_names(arguments: Sequence[str]) -> None:
    """Raise UserError for what is no text, which no file can record, and for a setting of nothing, which Hydra asserts
    that there is none of."""
    for argument in arguments:
        if not _is_text(argument):
            raise UserError(f"{argument!a} is no text in UTF-8; give the file or folder another name.")
        if re.match(r"[+~]*=", argument):
            raise UserError(
                f"{argument!r} has nothing before its =; write group=option or key=value, for instance arch=gru."
            )


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def compose(config_name: str, overrides: Sequence[str], resolved: bool = True) -> dict[str, Any]:
    """The config in plain containers, without Hydra's own part; resolved: with its references looked up."""
    config = composed(config_name, overrides)
    return plain(config) if resolved else _containers(config, resolve=False)


def composed(config_name: str, overrides: Sequence[str], hydras_own: bool = False) -> DictConfig:
    """The config as Hydra has it. hydras_own: with its node `hydra`."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra.compose(config_name, overrides=list(overrides), return_hydra_config=hydras_own)


def plain(config: DictConfig) -> dict[str, Any]:
    """A config in plain containers, its references looked up and its paths expanded."""
    return expand_all(_containers(config, resolve=True))


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose references are looked up."""
    return plain(OmegaConf.create(config))


def _containers(config: DictConfig, resolve: bool) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=resolve, throw_on_missing=True)  # type: ignore[return-value]


def explain(error: Exception, config_name: str, arguments: Sequence[str], each: str = EACH) -> str:
    """One sentence for what we, Hydra, OmegaConf or the machine refused, with the right options or keys.

    each: how every one of several values is run.
    """
    return spell_back(_sentence(error, config_name, arguments, each))


def _sentence(error: Exception, config_name: str, arguments: Sequence[str], each: str) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        way_out = SMALLER.get(config_name, "set smaller data or a smaller arch")
        return f"{NO_MEMORY} ({str(error) or 'it did not say for what'}); {way_out}."
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; mend that and give the same command again."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if not group:
            return f"{option} is no config of the lab; leave --config-name out."
        # Of a group with several options at once Hydra says not which there are.
        options = error.options if error.options is not None else options_of(group)
        return f"{group}={option} does not exist; choose one of {', '.join(sorted(options))}."
    if isinstance(error, OverrideParseException):
        return _no_setting(error.override, config_name)
    if isinstance(error, ConfigCompositionException):
        key = re.search(r"Could not (?:override|append to) '([^']+)'", str(error))
        if key:
            return _unknown(key.group(1), config_name, arguments)
        reference = re.search(r"Error resolving interpolation '([^']+)'", str(error))
        if reference:
            return f"{_with(reference.group(1), arguments)} refers to no group; write the option's name itself."
        if "ConfigTypeError" in str(error):
            return unreadable(arguments, error)
    reference = re.match(r"Interpolation key '([^']*)' not found", str(error))
    if reference:
        place = getattr(error, "full_key", None) or "a setting"
        return f"{place} refers to ${{{reference.group(1)}}}, which does not exist; write a key that does, or a value."
    if "Config group override must be a string or a list" in str(error):
        return _no_option(arguments)
    ambiguous = re.match(r"Ambiguous value for argument '([^'=]+)=(.*)'", str(error).splitlines()[0])
    if ambiguous:
        return _several(ambiguous.group(1), ambiguous.group(2), each)
    first = str(error).strip().splitlines()[0]
    return f"{first.rstrip('.')}; see --help for the options."


def _with(part: str, arguments: Sequence[str]) -> str:
    """The argument that holds a text, or the text where it stands in a file."""
    return next((argument for argument in arguments if part in argument), part)


def _no_setting(word: str, config_name: str) -> str:
    if config_name == "train" and word and "=" not in word and Path(word).exists():
        return f"{word} is a file and no setting; to train on it write {shlex.join(['data=npz', f'data.path={word}'])}."
    return f"{word!r} is no setting; write group=option or key=value, for instance arch=gru."


def _several(key: str, values: str, each: str) -> str:
    """A sentence for a setting with several values at a command that takes one."""
    if key in LISTS:
        other = f", or write {key}=[{values}] for one run with all of them"
    elif key in groups():
        other = ""
    else:
        other = f", or quote what is one text: {_in_shell(f'{key}={quoted(values)}')}"
    return f"{key}={values} names several values; {each}{other}."


def _in_shell(word: str) -> str:
    """A word with quotation marks as it has to be typed."""
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'


def unreadable(arguments: Sequence[str], error: Exception) -> str:
    """One sentence for a YAML file of the user's that cannot be read: which, where, and why."""
    if isinstance(error, yaml.YAMLError) and (mark := getattr(error, "problem_mark", None)) is not None:
        return no_yaml(mark.name, error)
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
            typed = argument.lstrip("+")
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
    return unknown_key(f"{known}.{wrong}".lstrip("."), keys)


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
    elsewhere = _elsewhere(key, arguments)
    if sentence and elsewhere:
        return f"{sentence.rstrip('.')}; did you mean {elsewhere}?"
    return sentence or f"{key} cannot be set, because another setting takes {group} away; leave one of them out."


def _elsewhere(key: str, arguments: Sequence[str]) -> str | None:
    """The argument that sets `key` behind the one option of its group that has it; None where not one option does."""
    group, _, name = key.partition(".")
    files = (conf_dir() / group).glob("*.yaml") if group in groups() else ()
    having = [file.stem for file in files if name in (yaml.safe_load(file.read_text(encoding="utf-8")) or {})]
    if len(having) != 1 or f"{group}={having[0]}" in arguments:
        return None
    typed = next((argument for argument in arguments if argument.startswith(f"{key}=")), f"{key}=...")
    return f"{group}={having[0]} {typed}"
