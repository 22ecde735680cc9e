"""The prose of Python's own documentation: its topics, and the docstrings of the standard library's modules."""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import hashlib
import pkgutil
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.documentation import prose

# Packages whose docstrings are tests, tables or another project's.
LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "encodings", "lib2to3", "pydoc_data", "site-packages", "turtledemo"}
)
SHORT = "with too little prose"
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(kw_only=True)
class Stdlib(Collection):
    """No place is needed: the texts are those of the Python that runs.

    min_paragraphs: topics and modules with fewer paragraphs of prose are left out. No module is imported: files are
    found by their names and parsed. One version of Python gives the same documents each time.
    """

    kind: ClassVar[str] = "stdlib"

    min_paragraphs: int = 8
    licence: str | None = "PSF-2.0"
    origin: str | None = "https://docs.python.org/3/"

    def _read(self) -> Iterator[Document]:
        for document in (*_apart(_topics(), self.min_paragraphs), *_modules()):
            if len(document.paragraphs) < self.min_paragraphs:
                self._leave_out(SHORT)
            else:
                yield document

    def _digest(self) -> str:
        texts = hashlib.sha256()
        for document in (*_topics(), *_modules()):
            texts.update("\n".join((document.id, *document.paragraphs, "")).encode(errors="backslashreplace"))
        return texts.hexdigest()


@functools.cache
def _topics() -> tuple[Document, ...]:
    file = _library() / "pydoc_data" / "topics.py"
    if not file.is_file():
        return ()
    assignments = [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Assign)]
    topics = next(node.value for node in assignments if getattr(node.targets[0], "id", "") == "topics")
    return tuple(
        Document(f"topic/{name}", text.strip().partition("\n")[0], "", _once(prose(text)))
        for name, text in sorted(ast.literal_eval(topics).items())
    )


def _apart(topics: tuple[Document, ...], least: int) -> list[Document]:
    """Topics that have nothing in common: sections of the large ones are topics of their own, which keep them."""
    apart, spent = [], set[str]()
    for topic in sorted(topics, key=lambda topic: len(topic.paragraphs)):
        own = tuple(piece for piece in topic.paragraphs if piece not in spent)
        apart.append(replace(topic, paragraphs=own))
        # What is too short for a document leaves its text to a larger one.
        spent.update(own if len(own) >= least else ())
    return sorted(apart, key=lambda topic: topic.id)


@functools.cache
def _modules() -> tuple[Document, ...]:
    """Read once a process: parsing the library takes seconds."""
    with _uncollected():
        return tuple(_module(name, file) for name, file in _files(_library(), ""))


def _module(name: str, file: Path) -> Document:
    tree = _parsed(file)
    texts = [ast.get_docstring(node) or "" for node in (tree, *_definitions(tree))]
    title = texts[0].strip().partition("\n")[0] or name
    return Document(f"module/{name}", title, "", _once([p for text in texts for p in prose(text)]))


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Trees have no cycles, and the collector would go through their millions of nodes for nearly half of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """(name, file) of every module written in Python, by name; a package's own file before its modules."""
    for module in sorted(pkgutil.iter_modules([str(folder)]), key=lambda module: module.name):
        file = folder / f"{module.name}.py"
        if module.name in LEFT_OUT or module.name.startswith("_sysconfigdata"):
            continue
        if module.ispkg:
            yield prefix + module.name, folder / module.name / "__init__.py"
            yield from _files(folder / module.name, f"{prefix}{module.name}.")
        elif file.is_file():
            yield prefix + module.name, file


def _parsed(file: Path) -> ast.Module:
    with warnings.catch_warnings():
        # Old modules have escapes that Python warns of.
        warnings.simplefilter("ignore")
        return ast.parse(file.read_bytes(), str(file))


def _definitions(node: ast.AST) -> Iterator[Definition]:
    """Classes and functions in the order of the file."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield child
        if isinstance(child, ast.stmt):
            yield from _definitions(child)


def _once(pieces: list[str]) -> tuple[str, ...]:
    """Without what a document says again word for word."""
    return tuple(dict.fromkeys(pieces))
