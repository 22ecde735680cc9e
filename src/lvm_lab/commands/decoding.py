"""How `diagnose RUN decoder=...`, `generate` and `pipeline-test` are read: KEY=VALUE among flags; no torch."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvm_lab.config.binding import unknown_key
from lvm_lab.errors import UserError

# By command what its config has, known without reading it: a checkpoint may have a = in its name too.
SETTINGS = {
    "diagnose": ("decoder", "encoder", "samples", "cache", "local"),
    "pipeline_test": (
        *("decoder", "encoder", "chunker", "smoother", "store", "part", "documents", "baselines", "seed"),
        *("cache", "local"),
    ),
    "generate": (
        *("decoder", "encoder", "chunker", "smoother", "steps", "mode", "stop", "temperature", "draws", "seed"),
        *("cache", "local"),
    ),
}
STDIN, TEXT = "-", "--text"


def split(words: Sequence[str], config_name: str) -> tuple[list[str], list[str]]:
    """(the settings among a command's words, the others); a flag's value is none, as ever it begins."""
    settings, others = list[str](), list[str]()
    for before, word in zip(["", *words], words, strict=False):
        # Every flag here takes one.
        value = before.startswith("--") and "=" not in before
        (settings if not value and _is_setting(word, SETTINGS[config_name]) else others).append(word)
    return settings, others


def _is_setting(word: str, keys: Sequence[str]) -> bool:
    """What has no key of the config is one too, to be told what there is, unless it may be a file."""
    key, equals, value = word.partition("=")
    if not equals or word.startswith("-"):
        return False
    if _top(word) in keys:
        return True
    return not (re.search(r"[/*?\\\[]", key) or value.endswith(".ckpt") or os.path.lexists(word))


def _top(word: str) -> str:
    """What a setting is of at the top of the config."""
    return re.split(r"[.@=]", word.lstrip("+~"))[0]


class Composer:
    """Calling it with settings composes a config; own options are looked for in `config_dir` too."""

    def __init__(self, config_name: str, config_dir: str | None) -> None:
        self.config_name, self.config_dir = config_name, config_dir

    def __call__(self, settings: Sequence[str]) -> dict[str, Any]:
        # Hydra comes in only now: without a decoder `diagnose` does without.
        from lvm_lab.commands.arguments import sort
        from lvm_lab.commands.guest import from_python

        for name in map(_top, settings):
            # Hydra would not tell of groups that are left out by default.
            if name not in SETTINGS[self.config_name]:
                raise UserError(unknown_key(name, SETTINGS[self.config_name]))
        return from_python(self.config_name, sort(settings), None, self.config_dir)

    def encoder(self, name: str) -> dict[str, Any]:
        """The settings of an encoder's option."""
        node: dict[str, Any] = self([f"encoder={name}"])["encoder"]
        return node


def text_of(args: argparse.Namespace) -> str:
    """What to go on from: of a file, of the standard input, or as it was typed."""
    if (args.text is None) == (args.file is None):
        raise UserError(f"generate goes on from one text; give a FILE (- for the standard input), or {TEXT} TEXT.")
    name = TEXT if args.file is None else "the standard input" if args.file == STDIN else args.file
    if name == args.file and args.json is not None and os.path.realpath(args.json) == os.path.realpath(name):
        raise UserError(f"--json {args.json} would take the place of the text itself; name another file.")
    try:
        text = args.text if name == TEXT else sys.stdin.read() if args.file == STDIN else Path(name).read_text("utf-8")
        # What is typed or piped may hold single surrogates in place of bytes that are no UTF-8.
        text.encode()
    except UnicodeError as error:
        raise UserError(f"{name} is no text in UTF-8; write it again as text.") from error
    # Some editors begin a file with a mark of the order of bytes.
    return str(text).removeprefix("\ufeff")
