"""The table of names that codes mean: the lab's own, or a user's YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lvm_lab.config.yaml_files import LOADER, no_yaml
from lvm_lab.data.tmd import FIELDS
from lvm_lab.errors import UserError
from lvm_lab.text.coder import Table, names_of

OWN = Path(__file__).with_name("tmd_names.yaml")


def read_table(file: Path | str | None) -> Table:
    """A table of names, each with its sentences; None: the lab's own. A name alone is its own sentence.

    Raises UserError for a file that is none, and for more names than codes have bits for.
    """
    path = OWN if file is None else Path(file)
    try:
        node: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); name a YAML with domains, tasks and modifiers.") from error
    except yaml.YAMLError as error:
        raise UserError(no_yaml(path, error)) from error
    if not isinstance(node, dict) or set(node) != set(FIELDS):
        raise UserError(f"{path} is no table of TMD names; give it the three keys {', '.join(FIELDS)}.")
    table = {key: _sentences(node[key], f"{path}: {key}") for key in FIELDS}
    # Counted and held against the bits there.
    names_of(table, "")
    return table


def _sentences(node: Any, place: str) -> dict[str, list[str]]:
    named = dict.fromkeys(node) if isinstance(node, list) else node
    if not isinstance(named, dict) or not named:
        raise UserError(f"{place} holds no names; list them, or give each its sentences.")
    table = {}
    for name, sentences in named.items():
        listed = [name] if sentences is None else [sentences] if isinstance(sentences, str) else sentences
        if not isinstance(name, str) or not isinstance(listed, list) or not all(isinstance(s, str) for s in listed):
            raise UserError(f"{place} has {name!r}, which is no name with sentences; write NAME: [SENTENCE, ...].")
        table[name] = listed or [name]
    return table
