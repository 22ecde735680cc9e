"""Holds flags against those that Hydra reads, so that a wrong one gets a sentence and no page of usage; no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from lvm_lab.commands.arguments import CommandLine
from lvm_lab.config.command import command
from lvm_lab.errors import UserError

CONFIG_DIR = "--config-dir"


def check_flags(arguments: Sequence[str], door: str) -> None:
    """Raise UserError for a flag that does not exist, or whose value does not fit. door: the command's name."""
    way_out = f"see {command(door, '--help')}"

    def refuse(message: str) -> NoReturn:
        named = re.match(r"argument ([^/:\s]+)[^:]*: (?:invalid choice: '(.*)' \(choose from (.*)\))?", message)
        if named is None:
            raise UserError(f"the flags of {command(door)} cannot be read ({message}); {way_out}.")
        flag, value, choices = named.groups()
        if choices is None:
            raise UserError(f"{flag} takes no such value, or needs one; {way_out}.")
        raise UserError(f"{flag} {value} does not fit; give it one of {choices.replace(chr(39), '')}, or {way_out}.")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    _, unknown = parser.parse_known_args([*arguments])
    if unknown:
        raise UserError(f"{unknown[0]} is no flag of {command(door)}; {way_out}.")
    check_config_dir([flag.partition("=")[2] for flag in arguments if flag.startswith(f"{CONFIG_DIR}=")])


def check_help(line: CommandLine, door: str) -> None:
    """Raise UserError for a word behind --help that help is not given of."""
    words = [word for word in (line.help, *line.settings) if word and word != "all" and "=" not in word]
    if words and line.help is not None and not words[0].startswith("~"):
        raise UserError(f"--help takes `all` or no word, and {words[0]} is neither; see {command(door, '--help')}.")


def check_config_dir(folders: Sequence[str], name: str = CONFIG_DIR) -> None:
    """Raise UserError for a folder of the user's own options that is none. name: what the user calls the setting."""
    for folder in folders:
        if not os.path.isdir(folder):
            raise UserError(f"{name}={folder} is no folder; name the one with your own options, or leave it out.")
