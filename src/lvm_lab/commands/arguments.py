"""A command line before Hydra reads it: paths made a setting, a door's own words for --help; no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Hydra's flags whose value is the next argument.
VALUE_FLAGS = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd")


def gather(arguments: Sequence[str], key: str) -> list[str]:
    """Arguments with those that are paths gathered, in their order, into one setting of `key`.

    A path is what has no `=`, or a slash or a wildcard before it: `./epoch=04.ckpt` is one, `epoch=04.ckpt` is a
    setting, and so is `hydra/launcher=joblib`.
    """
    flags: list[str] = []
    settings: list[str] = []
    paths: list[str] = []
    takes_value = False
    for argument in arguments:
        before, equals, _ = argument.partition("=")
        without_slash = not re.search(r"[/*?\\]", before) or before.startswith("hydra/")
        if takes_value or argument.startswith("-"):
            flags.append(argument)
        elif without_slash and (equals or before.startswith("~")):
            settings.append(argument)
        else:
            paths.append(argument)
        takes_value = not takes_value and argument in VALUE_FLAGS
    if paths:
        settings.append(f"{key}=[{','.join(map(quoted, paths))}]")
    # Hydra reads settings in one stretch only, and a user may put flags between paths.
    return [*flags, *settings]


def quoted(text: str) -> str:
    """A text as Hydra's grammar takes it whole: a backslash counts only before a quotation mark."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def with_help(arguments: Sequence[str], door: str, header: str) -> list[str]:
    """Arguments with what --help says at its top, for a door that takes another one's settings."""
    # Beside the first setting: Hydra reads settings in one stretch only, and flags such as -m may come before.
    first = next((i for i, a in enumerate(arguments) if "=" in a and not a.startswith("-")), len(arguments))
    words = [f"hydra.help.app_name={door}", f'hydra.help.header="{header}"']
    return [*arguments[:first], *words, *arguments[first:]]
