"""The value of a setting as people type it, written so that Hydra's grammar takes it as it is meant; no torch."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lvm_lab.config.paths import expand

# What the grammar takes as it is, whatever stands there.
HARMLESS = re.compile(r"[A-Za-z0-9_./-]*")
# Numbers, lists of them and words with a meaning: a file of that name does not make them a text.
NO_PATH = re.compile(r"[\d.,+\-_eE\[\]\s]*|true|false|null|nan|inf", re.IGNORECASE)
EXPANDS = re.compile(r"(?:^|[,\[\s])[~$]")
PAIRS = {"[": "]", "{": "}", "(": ")"}


def written(text: str) -> str:
    """A value with its paths expanded, in quotation marks where Hydra would not read it as one text.

    A file's name stands for the file, whatever it is made of. Lists and values for several runs are looked at item by
    item; what Hydra's grammar has (quotation marks, `${...}`, functions, mappings) keeps its meaning.
    """
    if HARMLESS.fullmatch(text):
        return text
    if _is_file(text):
        return quoted(expand(text), literal=True)
    if _parses(text) and not EXPANDS.search(text):
        return text
    is_list = text[0] == "[" and text[-1] == "]"
    items = ",".join(_items(text[1:-1] if is_list else text))
    rewritten = f"[{items}]" if is_list else items
    return rewritten if _parses(rewritten) else quoted(expand(text))


def quoted(text: str, literal: bool = False) -> str:
    """A text as Hydra's grammar takes it whole: a backslash counts only before a quotation mark.

    literal: `${` in it is no reference to another setting.
    """
    if literal and "${" in text:
        # Before a reference, and at the end of a text with one, OmegaConf halves backslashes.
        text = re.sub(r"(\\*)(\$\{|$)", lambda m: m[1] * 2 + (f"\\{m[2]}" if m[2] else ""), text)
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text) + "'"


def _items(text: str) -> Iterator[str]:
    """The items between commas, each written; a comma within quotation marks, brackets or a file's name parts none."""
    pieces = text.split(",")
    while pieces:
        count = _length(pieces)
        yield _item(",".join(pieces[:count]))
        del pieces[:count]


def _length(pieces: list[str]) -> int:
    """How many of the pieces between commas the first item is made of."""
    for count in range(len(pieces), 1, -1):
        if _file(",".join(pieces[:count])) is not None:
            return count
    for count in range(1, len(pieces)):
        if _balanced(",".join(pieces[:count]).strip()):
            return count
    return len(pieces) if _balanced(",".join(pieces).strip()) else 1


def _item(text: str) -> str:
    if (file := _file(text)) is not None:
        return quoted(expand(file), literal=True)
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]" and not _parses(text):
        return f"[{','.join(_items(text[1:-1]))}]"
    expanded = expand(text)
    return expanded if _parses(expanded) else quoted(expanded)


def _file(text: str) -> str | None:
    """The file that an item names, whose blanks may be its own or those around a comma."""
    return next((one for one in (text, text.strip()) if _is_file(one)), None)


def _is_file(text: str) -> bool:
    if not text or NO_PATH.fullmatch(text):
        return False
    try:
        return os.path.lexists(expand(text))
    except ValueError:
        return False


def _balanced(text: str) -> bool:
    """Whether quotation marks at its beginning and all brackets are closed."""
    if text[:1] in ("'", '"'):
        return len(text) > 1 and text[-1] == text[0]
    open_ones: list[str] = []
    for character in text:
        if character in PAIRS:
            open_ones.append(PAIRS[character])
        elif open_ones and character == open_ones[-1]:
            open_ones.pop()
    return not open_ones


def _parses(text: str) -> bool:
    """Whether Hydra's grammar takes it as a value."""
    try:
        _parser().parse_override(f"key={text}")
    except (HydraException, ValueError):
        return False
    return True


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
