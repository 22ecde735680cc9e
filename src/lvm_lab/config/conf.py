"""Where the shipped options are, and how people may spell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import lvm_lab
from lvm_lab.config import loggers

# Hydra's grammar refuses a key that begins with a digit, so 5cat is spelt five_cat before it looks.
FIVE_CAT = re.compile(r"^(\+{0,2}|~)5cat(?=$|[=.@])")
# One's own settings are those of the whole config, and no group of their own.
LOCAL = re.compile(r"^(\+{0,2}|~)local(?=$|=)")
# Folders of conf/ that hold no options of a run's config.
NO_GROUPS = ("local", "schedule")


def conf_dir() -> Path:
    """conf/ inside the installed package, or at the root of the checkout."""
    package = Path(lvm_lab.__file__).parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parents[1] / "conf"


def groups() -> list[str]:
    """The config groups of a run."""
    return [item.name for item in conf_dir().iterdir() if item.is_dir() and item.name not in NO_GROUPS]


def options_of(group: str) -> list[str]:
    """The shipped options of a group."""
    return [file.stem for file in (conf_dir() / group).glob("*.yaml")]


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Arguments with 5cat written as Hydra can read it, local as it stands in conf/, W&B's settings under its name."""
    return [
        loggers.spell_out(LOCAL.sub(r"\1local@_global_", FIVE_CAT.sub(r"\1five_cat", argument)))
        for argument in arguments
    ]


def spell_back(sentence: str) -> str:
    """A sentence for people, with 5cat and local as they type them; folders keep their name."""
    return re.sub(r"(?<![\w/.])five_cat(?![\w/])", "5cat", sentence).replace("local@_global_", "local")
