"""The table of names that codes mean: the lab's own, or a user's YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lvm_lab.config.yaml_files import LOADER, no_yaml
from lvm_lab.data.tmd import FIELDS, Names
from lvm_lab.errors import UserError
from lvm_lab.text.coder import Table, names_of

# Of a reader's `tmd_names`: the lab's own table.
LAB = "lab"
# Names that a message lists at most.
LISTED = 3
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


def given_names(file: str | None, by: str) -> Names:
    """What the TMD codes mean that a reader brings, by its setting `tmd_names`: a YAML or `lab`; None: nothing says."""
    return Names() if file is None else names_of(read_table(None if file == LAB else file), by)


def check_named(codes_N: np.ndarray, names: Names, what: str, file: str | None) -> None:
    """UserError for codes that some names lack. what: what messages call the codes' place; file: the setting."""
    if names and (nameless := names.nameless(codes_N)):
        raise UserError(
            f"{what} has TMD codes that reader.tmd_names={file} has no name for ({', '.join(nameless[:LISTED])}); name "
            "the table by which they were given, or leave it out."
        )


def _sentences(node: Any, place: str) -> dict[str, list[str]]:
    if not isinstance(node, list | dict) or not node:
        raise UserError(f"{place} holds no names; list them, or give each its sentences.")
    table: dict[str, list[str]] = {}
    for name, sentences in node.items() if isinstance(node, dict) else ((name, None) for name in node):
        listed = [name] if sentences is None else [sentences] if isinstance(sentences, str) else sentences
        if not isinstance(name, str) or not isinstance(listed, list) or not all(isinstance(s, str) for s in listed):
            raise UserError(f"{place} has {name!r}, which is no name with sentences; write NAME: [SENTENCE, ...].")
        if name in table:
            # Left out, it would move the number of every name behind it.
            raise UserError(f"{place} lists {name!r} twice; name it once.")
        table[name] = listed or [name]
    return table
