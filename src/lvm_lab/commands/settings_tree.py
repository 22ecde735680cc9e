"""The keys and options of a config as far as its YAML files say them, for a shell that cannot wait; no Hydra."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lvm_lab.config.conf import conf_dir, spell_back, spell_out
from lvm_lab.config.paths import expand
from lvm_lab.config.yaml_files import LOADER


class Tree:
    """A config with the options that the words before the cursor choose. Files that cannot be read are passed over."""

    def __init__(self, config_name: str, words: Sequence[str]) -> None:
        self.folders = [conf_dir(), *_own(words)]
        node = _load(conf_dir() / f"{config_name}.yaml")
        typed = [word.lstrip("+").partition("=") for word in spell_out(words)]
        self.groups = {
            str(group).removeprefix("optional ").partition("@")[0]: option
            for default in node.pop("defaults", [])
            if isinstance(default, dict)
            for group, option in default.items()
            if not str(group).startswith("override")
        }
        choices = self.groups | {key: value for key, _, value in typed if key in self.groups}
        self.node = {key: value for key, value in node.items() if key != "hydra"}
        for group, option in choices.items():
            for name in option if isinstance(option, list) else str(option).strip("[]").split(","):
                self._merge(group, name)
        if config_name == "train":
            self.groups["schedule"] = None

    def keys(self, typed: str) -> list[str]:
        """What a key that begins as typed may be, one level deep: groups and keys with `=`, mappings with a dot."""
        sign = re.match(r"\+{0,2}|~", typed)
        prefix = sign[0] if sign else ""
        path, dot, _ = typed[len(prefix) :].rpartition(".")
        node = self._at(path) if dot else self.node
        if not isinstance(node, dict):
            return []
        begin = f"{prefix}{path}{dot}"
        keys = [f"{begin}{_typed(k, dot)}{'.' if isinstance(v, dict) and v else '='}" for k, v in node.items()]
        return keys if dot else [*keys, *(f"{begin}{_typed(group, dot)}=" for group in self.groups)]

    def values(self, key: str) -> list[str]:
        """What a key may be set to, where that can be listed; empty for what may be a file."""
        name = spell_out([key.lstrip("+~")])[0].partition("@")[0]
        if name in self.groups:
            return sorted({file.stem for folder in self.folders for file in (folder / name).glob("*.yaml")})
        value = self._at(name)
        if isinstance(value, bool):
            return ["true", "false"]
        return [str(value)] if isinstance(value, int | float) else []

    def _at(self, path: str) -> Any:
        node: Any = self.node
        for name in spell_out([path])[0].split("."):
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def _merge(self, group: str, name: str) -> None:
        """An option's keys, with those of the options that it is made of."""
        file = next((f for folder in self.folders if (f := folder / group / f"{name}.yaml").is_file()), None)
        if file is None:
            return
        whole = group == "local" or "@package _global_" in file.read_text(encoding="utf-8", errors="replace")[:200]
        option = _load(file)
        for default in option.pop("defaults", []):
            if isinstance(default, str) and default != "_self_":
                self._merge(group, default)
        here = self.node if whole else self.node.setdefault(group, {})
        if isinstance(here, dict):
            _update(here, option)


def _typed(key: object, dot: str) -> str:
    return str(key) if dot else spell_back(str(key))


def _update(node: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if str(key).startswith("_"):
            continue
        if isinstance(node.get(key), dict) and isinstance(value, dict):
            _update(node[key], value)
        else:
            node[key] = value


def _own(words: Sequence[str]) -> list[Path]:
    """The folder behind --config-dir."""
    line = " ".join(words)
    named = re.search(r"(?:--config-dir[= ]|-cd )(\S+)", line)
    return [Path(expand(named[1]))] if named else []


def _load(file: Path) -> dict[str, Any]:
    try:
        node = yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return node if isinstance(node, dict) else {}
