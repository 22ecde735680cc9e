"""The commands of the package, found by their files and read without importing them; no torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

import lvm_lab


@dataclass(frozen=True)
class Door:
    """What a command takes. config: the name of the one that Hydra composes, None for a plain command.

    flags: those of a plain command, each with its choices; None for one that takes no value. files: whether arguments
    may be files. choices: of its arguments, where they are no files.
    """

    config: str | None = None
    files: bool = False
    flags: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


def summaries() -> dict[str, str]:
    """By command: the first sentence of its file, up to the example. A file with a `main` is a command."""
    return {
        name: (ast.get_docstring(tree) or "").splitlines()[0].partition(": `")[0] for name, tree in _trees().items()
    }


def read(name: str) -> Door | None:
    """What a command takes; None where there is none of that name."""
    tree = _trees().get(name.replace("-", "_"))
    if tree is None:
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for call in calls:
        if call.func.attr == "launch" and call.args and isinstance(call.args[0], ast.Constant):  # type: ignore[attr-defined]
            return Door(config=str(call.args[0].value), files=any(k.arg == "files" for k in call.keywords))
    flags: dict[str, tuple[str, ...] | None] = {"--help": None, "--version": None}
    files = False
    choices: tuple[str, ...] = ()
    for call in calls:
        if call.func.attr != "add_argument" or not isinstance(call.args[0], ast.Constant):  # type: ignore[attr-defined]
            continue
        argument, listed = str(call.args[0].value), _choices(call)
        if argument.startswith("-"):
            takes_none = any(k.arg == "action" and getattr(k.value, "value", "") != "append" for k in call.keywords)
            flags[argument] = None if takes_none else listed
        else:
            files, choices = files or not listed, choices or listed
    return Door(files=files, flags=flags, choices=choices)


def _choices(call: ast.Call) -> tuple[str, ...]:
    """The choices of an argument, where they stand written out."""
    for keyword in call.keywords:
        if keyword.arg == "choices" and isinstance(keyword.value, ast.Tuple | ast.List):
            return tuple(str(item.value) for item in keyword.value.elts if isinstance(item, ast.Constant))
    return ()


def _trees() -> dict[str, ast.Module]:
    folder = Path(lvm_lab.__file__).parent
    trees = {file.stem: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("[a-z]*.py"))}
    return {name: tree for name, tree in trees.items() if any(getattr(n, "name", "") == "main" for n in tree.body)}
