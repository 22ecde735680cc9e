"""What --help and --version of a command say that Hydra composes: conf/'s own comments, grouped; no torch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvm_lab import __version__
from lvm_lab.commands.arguments import CommandLine, Files
from lvm_lab.commands.composing import own_folders
from lvm_lab.config.command import command
from lvm_lab.config.conf import conf_dir, options_of, spell_back

WIDTH = 118
DEFAULT = re.compile(r"  - (?P<group>[a-z]\w*): (?P<option>\S+|\[.*?\])(?:\s+#\s*(?P<says>.*))?$")
FLAGS = """flags: -m a run for each combination of values with commas; --cfg job show what would run, and run nothing;
  --config-dir DIR options of your own; --help all every key as it composes; --version of the lab"""


@dataclass(frozen=True)
class Group:
    """A line of a config's defaults. option: what stands there; says: its comment."""

    name: str
    option: str
    says: str


def keys(config_name: str) -> list[str]:
    """What a setting of this config may begin with."""
    text = (conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8")
    own = re.findall(r"^([a-z]\w*):", text, re.MULTILINE)
    return [*own, *(group.name for group in _groups(text)), "local", "schedule", "run_id"]


def show(config_name: str, door: str, line: CommandLine, files: Files | None, header: str | None) -> None:
    """Print what --version or --help asks for."""
    if line.version:
        print(f"lvm_lab {__version__}")
        return
    print("\n".join(_lines(config_name, door, own_folders(line.flags), files, header)))


def for_hydra(door: str, header: str | None) -> list[str]:
    """Settings that have Hydra's own help speak of this door."""
    words = [f'hydra.help.app_name="{command(door)}"']
    return words if header is None else [*words, f'hydra.help.header="{header}"']


def _lines(config_name: str, door: str, own: list[Path], files: Files | None, header: str | None) -> Iterator[str]:
    text = (conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8")
    yield header or _header(text)
    words = "[GROUP=OPTION...] [KEY=VALUE...] [FLAG...], in any order"
    yield f"usage: {command(door)} {'FILE... ' if files else ''}{words}"
    if header is None:
        yield from (line.replace("# ", "  ", 1) for line in text.splitlines() if line.startswith("# "))
    yield "\ngroups, each with its options, of which the one in brackets stands where none is named:"
    for group in _groups(text):
        yield from _group(group, own)
    if header is None and config_name == "train":
        yield f"  schedule: {', '.join(sorted(options_of('schedule')))}  # tables of runs, with -m; docs/schedule.md"
    yield "\nkeys, with what stands where none is given:"
    yield from (f"  {line}" for line in _body(text) if line)
    yield f"\n{FLAGS}"


def _group(group: Group, own: list[Path]) -> Iterator[str]:
    typed = spell_back(group.name)
    more = {file.stem for folder in own for file in (folder / group.name).glob("*.yaml")}
    taken = group.option.strip("[]").split(",")
    options = ", ".join(f"[{o}]" if o in taken else o for o in sorted({*options_of(group.name), *more}))
    says = f"  # {group.says}" if group.says else ""
    if len(whole := f"  {typed}: {options}{says}") <= WIDTH:
        yield whole
        return
    yield f"  {typed}:{says}"
    yield from textwrap.wrap(options, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4)


def _groups(text: str) -> list[Group]:
    matches = (DEFAULT.match(line) for line in text.splitlines())
    return [Group(m["group"], m["option"], m["says"] or "") for m in matches if m]


def _body(text: str) -> list[str]:
    """The lines of a config behind its defaults and before what is Hydra's."""
    behind = re.split(r"^defaults:\n(?:  .*\n)+", text, maxsplit=1, flags=re.MULTILINE)[-1]
    return re.split(r"^hydra:", behind, maxsplit=1, flags=re.MULTILINE)[0].splitlines()


def _header(text: str) -> str:
    """The config's own words for what its command does."""
    match = re.search(r'header: "(.*?)"', text)
    assert match, "a config says in hydra.help.header what it is for"
    return match[1]
