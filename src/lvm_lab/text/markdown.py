"""Markdown to its title and the paragraphs of its prose."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markdown_it import MarkdownIt
from markdown_it.token import Token

FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n.*?^(?:---|\.\.\.)[^\S\n]*$\n?", re.DOTALL | re.MULTILINE)
# Characters for what has no words of its own.
BREAKS = {"softbreak": " ", "hardbreak": " "}


def read(text: str, *, code: bool, tables: bool) -> tuple[str, tuple[str, ...]]:
    """(title, paragraphs): the first heading; headings, prose and list items, each a paragraph, without markup.

    code, tables: whether blocks of code, and tables by rows, are paragraphs too. HTML, front matter and the targets of
    links are left out.
    """
    tokens = MarkdownIt("commonmark").enable("table").parse(FRONT_MATTER.sub("", text))
    title, before = "", ""
    pieces: list[str] = []
    row: list[str] | None = None
    for token in tokens:
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            pieces += [" ".join(row or [])] if tables else []
            row = None
        elif token.type in ("fence", "code_block"):
            pieces += [token.content] if code else []
        elif token.type == "inline":
            words = plain(token.children or ())
            title = title or (words if before == "heading_open" else "")
            (pieces if row is None else row).append(words)
        before = token.type
    return title, tuple(words for words in (" ".join(piece.split()) for piece in pieces) if words)


def plain(tokens: Iterable[Token]) -> str:
    """The words of inline tokens; an image's are its description."""
    return "".join(_words(token) for token in tokens)


def _words(token: Token) -> str:
    if token.type == "image":
        return plain(token.children or ())
    if token.type in ("text", "code_inline", "text_special"):
        return token.content
    return BREAKS.get(token.type, "")
