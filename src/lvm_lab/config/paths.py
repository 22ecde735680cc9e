"""Paths as people write them: `~` and `$HOME` at the beginning of one mean what they mean in a shell."""

from __future__ import annotations

import os
import re
from typing import Any

VARIABLE = re.compile(r"^\$(?:(\w+)|\{(\w+)\})(?=/|$)")


def expand(text: str) -> str:
    """A text that begins with `~`, `$NAME` or `${NAME}` as a path, with what it stands for; any other as it is."""
    if text.startswith("~"):
        return os.path.expanduser(text)
    variable = VARIABLE.match(text)
    value = variable and os.environ.get(variable[1] or variable[2])
    return f"{value}{text[variable.end() :]}" if variable and value else text


def expand_all(node: Any) -> Any:
    """A config in plain containers with every text expanded."""
    if isinstance(node, dict):
        return {key: expand_all(value) for key, value in node.items()}
    if isinstance(node, list):
        return [expand_all(value) for value in node]
    return expand(node) if isinstance(node, str) else node
