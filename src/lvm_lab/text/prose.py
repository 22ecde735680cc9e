"""A text to its paragraphs."""

from __future__ import annotations

import re
from typing import Literal

# joined: a blank line ends a paragraph, and the lines within are joined. paragraphs: every line is one.
Lines = Literal["joined", "paragraphs"]
BLANK = re.compile(r"\n[^\S\n]*\n")


def paragraphs(text: str, lines: Lines = "joined") -> tuple[str, ...]:
    """The paragraphs of a text, with single blanks between words, none empty."""
    pieces = text.splitlines() if lines == "paragraphs" else BLANK.split(text.replace("\r\n", "\n"))
    return tuple(words for words in (" ".join(piece.split()) for piece in pieces) if words)


def folded(text: str) -> str:
    """Equal for texts that differ in blanks and case alone."""
    return " ".join(text.split()).casefold()
