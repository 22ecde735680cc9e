"""Where in a YAML file its keys and rows stand, for sentences that name file and line; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lvm_lab.config.yaml_files import LOADER, no_yaml
from lvm_lab.errors import UserError


@dataclass(frozen=True)
class Table:
    """A table's file as it was read. lines: of its keys, by name; row_lines: of its rows, in order."""

    file: Path
    node: Any
    lines: dict[str, int] = field(default_factory=dict)
    row_lines: list[int] = field(default_factory=list)

    def place(self, key: str) -> str:
        """The file, and the line where a key stands."""
        return f"{self.file}, line {self.lines[key]}" if key in self.lines else str(self.file)

    def row_place(self, number: int) -> str:
        return f"{self.file}, line {self.row_lines[number]}"


def read(file: Path) -> Table:
    """A YAML file with the lines of its keys and rows. Raises UserError with file and line for what is no YAML."""
    try:
        text = file.read_text(encoding="utf-8")
        node, tree = yaml.load(text, Loader=LOADER), yaml.compose(text, Loader=LOADER)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no YAML in UTF-8; write it again as text.") from error
    except yaml.YAMLError as error:
        raise UserError(no_yaml(file, error)) from error
    if not isinstance(tree, yaml.MappingNode):
        return Table(file, node)
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in tree.value}
    rows = [value for key, value in tree.value if key.value == "rows" and isinstance(value, yaml.SequenceNode)]
    return Table(file, node, lines, [row.start_mark.line + 1 for value in rows[-1:] for row in value.value])
