"""Completes a command line of the lab for a shell: commands, flags, options, keys and files; no Hydra, no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvm_lab.commands import doors
from lvm_lab.commands.doors import Door
from lvm_lab.commands.settings_tree import Tree
from lvm_lab.config.paths import expand

COMMANDS = ("lvm-lab", "lvm-train", "lvm-evaluate")
# Hydra's flags; what stands behind one that takes a value.
HYDRA = ("--help", "--version", "--cfg", "--config-dir", "--multirun", "-m", "--info", "--resolve")
VALUES: dict[str, tuple[str, ...]] = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--help": ("all",),
}
FOLDERS = ("--config-dir", "-cd")
# What no shell reads as anything but itself.
SAFE = re.compile(r"[^\w@%+=:,./~-]")
SCRIPTS = {
    "bash": r"""_lvm_lab() {
  local IFS=$'\n'
  COMPREPLY=($("$1" @completion bash --breaks "$COMP_WORDBREAKS" --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _lvm_lab lvm-lab lvm-train lvm-evaluate""",
    "zsh": r"""_lvm_lab() {
  local -a replies
  replies=("${(@f)$(lvm-lab completion zsh --line "$LBUFFER" 2>/dev/null)}")
  [[ -n "$replies[1]" ]] && compadd -Q -U -S '' -a replies
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _lvm_lab lvm-lab lvm-train lvm-evaluate""",
    "fish": r"""for name in lvm-lab lvm-train lvm-evaluate
  complete -c $name -f -a '(lvm-lab completion fish --line (commandline -cp | string collect))'
end""",
}


@dataclass(frozen=True)
class Line:
    """A line up to the cursor. words: those before the last; current: the last as it is meant; raw: as it is typed;
    quote: the quotation mark that is open."""

    words: list[str]
    current: str
    raw: str
    quote: str


def script(shell: str) -> str:
    """What the shell evaluates."""
    return SCRIPTS[shell].replace('"$1" @completion', "lvm-lab completion")


def replies(text: str, shell: str, breaks: str = "") -> list[str]:
    """What the shell may put in place of the word at the end of `text`, as it has to stand on the line."""
    line = split(text)
    candidates = sorted({word for word in _candidates(line) if word.startswith(line.current)})
    if shell == "fish":
        return candidates
    typed = line.raw
    if line.quote:
        typed = typed[typed.index(line.quote) + 1 :] if shell == "bash" else typed
    elif breaks:
        typed = re.split(f"[{re.escape(breaks)}]", typed)[-1]
    rest = (word[len(line.current) :] for word in candidates)
    return [typed + (end if line.quote else SAFE.sub(r"\\\g<0>", end)) for end in rest]


def split(text: str) -> Line:
    """The words of a line as a shell parts them, the last one perhaps not at its end."""
    words, current, start, quote, place = [], "", 0, "", 0
    while place < len(text):
        character = text[place]
        if quote:
            current, quote = (current, "") if character == quote else (current + character, quote)
        elif character in "'\"":
            quote = character
        elif character == "\\" and place + 1 < len(text):
            place += 1
            current += text[place]
        elif character.isspace():
            words += [current] if place > start else []
            current, start = "", place + 1
        else:
            current += character
        place += 1
    return Line(words, current, text[start:], quote)


def _candidates(line: Line) -> Iterator[str]:
    program, *words = line.words or [""]
    name = Path(program).name
    if name in COMMANDS[1:]:
        words = [name.removeprefix("lvm-"), *words]
    if not words:
        yield from (name.replace("_", "-") for name in doors.summaries())
        yield from ("--help", "--version")
        return
    door = doors.read(words[0])
    if door is None:
        return
    before = words[-1] if len(words) > 1 else ""
    yield from _plain(door, before, line.current) if door.config is None else _hydra(door, words[1:], line.current)


def _plain(door: Door, before: str, current: str) -> Iterator[str]:
    if before == "--keep" and before in door.flags:
        # Reading runs brings NumPy in, which no other answer needs.
        from lvm_lab.runs import pruning

        done = current[: current.rfind(",") + 1]
        yield from (f"{done}{kind}" for kind in ((*pruning.KINDS,) if done else (*pruning.KINDS, pruning.NONE)))
    elif door.flags.get(before) is not None:
        yield from door.flags[before] or _files(current)
    elif current.startswith("-"):
        yield from door.flags
    else:
        yield from door.choices
        yield from _files(current) if door.files else ()


def _hydra(door: Door, words: Sequence[str], current: str) -> Iterator[str]:
    assert door.config is not None
    before = words[-1] if words else ""
    if before in FOLDERS:
        yield from (file for file in _files(current) if file.endswith("/"))
        return
    if before in VALUES and not current.startswith("-") and (before != "--help" or not current):
        yield from VALUES[before]
        return
    if current.startswith("-"):
        yield from HYDRA
        return
    key, equals, value = current.partition("=")
    tree = Tree(door.config, words)
    if not equals:
        yield from tree.keys(key)
        yield from _files(current) if door.files else ()
        return
    # In a list and among several values the last one is completed.
    done = value[: max(value.rfind(","), value.rfind("[")) + 1]
    offered = tree.values(key) or _files(value[len(done) :])
    yield from (f"{key}={done}{one}" for one in offered)


def _files(typed: str) -> list[str]:
    """Files and folders whose path begins as typed; folders end with a slash."""
    folder, name = os.path.split(typed)
    try:
        entries = [entry for entry in os.scandir(expand(folder) or ".") if entry.name.startswith(name)]
    except OSError:
        return []
    shown = (entry for entry in entries if name.startswith(".") or not entry.name.startswith("."))
    begin = typed[: len(typed) - len(name)]
    return [f"{begin}{entry.name}{'/' if entry.is_dir() else ''}" for entry in shown]
