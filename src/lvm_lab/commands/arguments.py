"""A command line before Hydra reads it: flags and settings in any order, files a setting, values quoted; no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from lvm_lab.commands.values import quoted, written
from lvm_lab.config import conf
from lvm_lab.config.paths import expand

# Hydra's flags whose value may be the next argument, by all their names.
VALUE_FLAGS = {
    "-c": "--cfg",
    "-p": "--package",
    "-cp": "--config-path",
    "-cn": "--config-name",
    "-cd": "--config-dir",
    "--experimental-rerun": "--experimental-rerun",
}
INFOS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
HELP = ("--help", "-h")
MULTIRUN = ("-m", "--multirun")
# What is read here and is not Hydra's to read: a table of runs.
OWN = re.compile(r"\+?run_id$|schedule($|\.)")


@dataclass(frozen=True)
class Files:
    """Where arguments go that are files. key: the setting that takes them; implies: one that goes with them."""

    key: str
    implies: str | None = None


@dataclass
class CommandLine:
    """What was typed, sorted. flags carry their value behind `=`. help: of which the word behind --help asks."""

    flags: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    help: str | None = None
    version: bool = False

    def words(self, files: Files | None = None) -> list[str]:
        """The line as Hydra reads it, which takes settings in one stretch only: flags first, then settings."""
        settings = [*self.settings]
        if self.files and files is not None:
            items = [quoted(expand(file), literal=True) for file in self.files]
            group = (files.implies or "").partition("=")[0]
            if files.implies and not any(setting.partition("=")[0] == group for setting in settings):
                settings.insert(0, files.implies)
            # One file of data is its path; checkpoints are a list.
            value = items[0] if files.implies and len(items) == 1 else f"[{','.join(items)}]"
            settings.append(f"{files.key}={value}")
        return [*self.flags, *settings]


def sort(arguments: Sequence[str], keys: Sequence[str] | None = None) -> CommandLine:
    """What was typed, sorted into flags, settings and files, in any order.

    keys: what settings begin with at a command about files; None for a command that takes none. A file is there what
    has no `=`, a slash or a wildcard before it (`./epoch=04.ckpt`; `hydra/launcher=joblib` is a setting), or exists
    and begins with no key (`epoch=04.ckpt`).
    """
    line = CommandLine()
    rest = conf.spell_out(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            (line.settings if keys is None else line.files).extend(rest)
            break
        if word.startswith("-"):
            _flag(line, word, rest)
        elif keys is not None and _is_file(word, keys):
            line.files.append(word)
        else:
            line.settings.append(_setting(word))
    return line


def _flag(line: CommandLine, word: str, rest: list[str]) -> None:
    """Takes a flag, and from the rest its value where it has one."""
    flag, equals, value = word.partition("=")
    flag = VALUE_FLAGS.get(flag, flag)
    if flag in HELP:
        line.help = rest.pop(0) if rest[:1] == ["all"] else value
    elif flag == "--version":
        line.version = True
    elif flag in ("--info", "-i"):
        line.flags.append(f"--info={value or (rest.pop(0) if rest and rest[0] in INFOS else 'all')}")
    elif flag in VALUE_FLAGS.values() and (equals or rest):
        line.flags.append(f"{flag}={expand(value if equals else rest.pop(0))}")
    else:
        line.flags.append(word)


def _setting(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+~") in (*conf.groups(), "local@_global_") or key.lstrip("+").startswith("hydra/"):
        # Options are names: what is none of them is told with those there are.
        return word
    return f"{key}={expand(value)}" if OWN.match(key) else f"{key}={written(value)}"


def _is_file(word: str, keys: Sequence[str]) -> bool:
    key, equals, _ = word.partition("=")
    if re.search(r"[/*?\\]", key) and not key.startswith("hydra/"):
        return True
    if not equals:
        return not key.startswith("~")
    return re.split(r"[.@]", key.lstrip("+~"), maxsplit=1)[0] not in keys and os.path.lexists(word)
