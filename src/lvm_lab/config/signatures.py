"""What the lab's own classes take, read from their source: a config is held against them without importing torch."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lvm_lab.config import binding, targets
from lvm_lab.errors import UserError

PACKAGE = "lvm_lab."
# The names that may stand in a hint; a parameter whose hint has others is left to whoever builds the object.
NAMES: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict, "Any": Any}
NAMES["Literal"] = Literal


def check_types(node: Any, path: str = "") -> None:
    """UserError for a value, anywhere in a config, whose type is not what the class named beside it takes.

    Classes of other packages are not looked at, nor what the classes themselves refuse.
    """
    if not isinstance(node, dict):
        return
    target = targets.current(node).get(targets.TARGET)
    hints = parameter_types(target) if isinstance(target, str) else {}
    for key, value in node.items():
        place = f"{path}.{key}".lstrip(".")
        if key in hints and not binding.fits(value, hints[key]):
            raise UserError(binding.misfit(place, value, hints[key]))
        check_types(value, place)


@functools.cache
def parameter_types(target: str) -> dict[str, Any]:
    """By parameter: the type that a class of the lab takes; empty for a class of another package."""
    hints = dict(_annotations(*target.rpartition(".")[::2]))
    return {key: hint for key, node in hints.items() if (hint := _evaluated(node)) is not None}


def _annotations(module: str, name: str) -> Iterator[tuple[str, ast.expr]]:
    """Of a class's parameters, those of the classes that it derives from before its own."""
    tree = _source(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        return
    kind = classes[name]
    constructor = [node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    if constructor:
        arguments = constructor[0].args
        for argument in (*arguments.args, *arguments.kwonlyargs):
            if argument.annotation is not None:
                yield argument.arg, argument.annotation
        return
    places = {name: (module, name) for name in classes} | dict(_imported(tree))
    for base in kind.bases:
        if isinstance(base, ast.Name) and base.id in places:
            yield from _annotations(*places[base.id])
    # A dataclass: what stands in its body are its parameters.
    if kind.decorator_list:
        for node in kind.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, node.annotation


def _evaluated(annotation: ast.expr) -> Any:
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    if not names <= NAMES.keys():
        return None
    return eval(compile(ast.Expression(annotation), "<annotation>", "eval"), {"__builtins__": {}}, NAMES)


def _imported(tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """The names that a module imports, with the module and the name there that each is."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module, alias.name)


@functools.cache
def _source(module: str) -> ast.Module:
    """Empty for a module that is of another package or not there: whoever builds the object says so."""
    try:
        spec = importlib.util.find_spec(module) if module.startswith(PACKAGE) else None
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
