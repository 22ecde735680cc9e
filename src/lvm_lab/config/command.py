"""How a command of the lab is typed, for every message that names one."""

from __future__ import annotations


def command(door: str, *arguments: object) -> str:
    """What to type for a door and its arguments."""
    return " ".join([f"python -m lvm_lab.{door}", *map(str, arguments)])
