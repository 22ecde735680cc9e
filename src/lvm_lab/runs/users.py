"""Whose weights somebody needs: ensembles, trainings that began with them, a registry that points there; no torch.

Links are told where they lead to, and no folder is walked through one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lvm_lab.config.yaml_files import LOADER
from lvm_lab.files import sha256
from lvm_lab.runs import identity, reading
from lvm_lab.runs.written import RESOLVED, TABLE

# Settings that name weights of other runs, by group.
ORIGINS = {"arch": identity.ARCH_PATHS, "trainer": identity.ORIGINS}
SHA256 = re.compile(r"[0-9a-f]{64}")
# A record that points somewhere is smaller; what is larger are weights.
LARGEST_RECORD = 1 << 20
REGISTRY = "registry"


@dataclass
class Users:
    """Who needs which files. paths: files and run folders; digests: of files, wherever they lie."""

    paths: dict[Path, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def of(self, checkpoint: Path) -> str | None:
        """Who needs a checkpoint, itself or the whole of its run; None where nobody does."""
        file = checkpoint.resolve()
        for place in (file, file.parent, file.parent.parent):
            if place in self.paths:
                return self.paths[place]
        return self.digests.get(sha256(checkpoint)) if self.digests else None

    def add(self, word: str, bases: Iterable[Path], user: str) -> None:
        """A path, taken from each of `bases` where it is relative, or a digest."""
        if SHA256.fullmatch(word):
            self.digests.setdefault(word, user)
        elif word and "\0" not in word and len(word) < 4096 and "\n" not in word:
            for base in bases:
                self.paths.setdefault((base / word).resolve(), user)


def users(sweep: Path, also: Iterable[Path] = ()) -> Users:
    """Everybody who is known to need weights: in `sweep`, beside it, in `outputs`, `multirun` and `registry` here and
    where it lies, and in the folders of `also`."""
    known = Users()
    bases = dict.fromkeys([Path.cwd(), *sweep.resolve().parents[:2]])
    roots = [sweep, *also, *(base / name for base in bases for name in ("outputs", "multirun"))]
    for folder in dict.fromkeys(root.resolve() for root in roots):
        _add_runs(known, folder, levels=None)
    # A root may go by any name, and what else lies there may be without end.
    _add_runs(known, sweep.resolve().parent, levels=2)
    for folder in dict.fromkeys([*(base / REGISTRY for base in bases), *(one / REGISTRY for one in also), *also]):
        _add_registry(known, folder)
    return known


def runs_below(folder: Path, levels: int | None = None) -> Iterator[Path]:
    """The folder itself if it is a run's, else every run's folder below it, at most so many levels down."""
    if (folder / reading.CONFIG).is_file():
        yield folder
    elif levels != 0:
        for item in _folders(folder):
            yield from runs_below(item, None if levels is None else levels - 1)


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _add_runs(known: Users, folder: Path, levels: int | None) -> None:
    for run in runs_below(folder, levels):
        read = reading.read(run)
        data = identity.of_data(read.identity.content)
        for name, digest in read.identity.content.items():
            if name not in data:
                known.add(str(digest), (), str(run))
        for group, keys in ORIGINS.items():
            for key in keys:
                _add_origin(known, read.config.get(group, {}).get(key), run, f"{group}.{key}")
    for sweep in {run.parent for run in runs_below(folder, levels)} | {folder}:
        for table in (TABLE, RESOLVED):
            for word in _texts(reading.load_yaml(sweep / table)):
                key, equals, value = word.partition("=")
                group, _, name = key.partition(".")
                if equals and name in ORIGINS.get(group, ()):
                    _add_origin(known, _parsed(value), sweep / table, key)


def _add_origin(known: Users, value: Any, user: Path, key: str) -> None:
    """What a setting names. A member that is a run's folder is the checkpoint of its result, which nobody removes."""
    bases = [Path.cwd(), *user.parents]
    for word in _texts(value):
        files = [base / word for base in bases]
        if key != "arch.members" or not any(file.is_dir() for file in files):
            known.add(word, bases, f"{user} ({key})")


def _add_registry(known: Users, folder: Path) -> None:
    for place, folders, files in os.walk(folder, onerror=_unreadable) if folder.is_dir() else ():
        for item in (Path(place, name) for name in (*folders, *files)):
            if item.is_symlink():
                known.paths.setdefault(item.resolve(), str(item))
            elif item.is_file() and item.stat().st_size <= LARGEST_RECORD:
                for word in _texts(_record(item)):
                    known.add(word, [Path.cwd(), *item.parents], str(item))


def _unreadable(error: OSError) -> None:
    raise error


def _record(file: Path) -> Any:
    """A file of JSON, YAML or a single path; None where it is none of them."""
    try:
        # Who may not read a registry does not know what it needs: an OSError ends the command.
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [_parsed(text), *(line.strip() for line in text.splitlines())]


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value)
