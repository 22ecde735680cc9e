"""How a command of the lab is typed, for every message that names one."""

from __future__ import annotations


def command(door: str, *arguments: object) -> str:
    """What to type for a door and its arguments."""
    return " ".join(["lvm-lab", door.replace("_", "-"), *map(str, arguments)])
