"""Tables, lists and other people's words in GitHub's Markdown; no torch."""

from __future__ import annotations

from collections.abc import Container, Iterable

ESCAPED = {mark: f"\\{mark}" for mark in "\\`*_|[]#"} | {"<": "&lt;", ">": "&gt;"}


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], right: Container[int] = ()) -> str:
    """A table; right: the columns, by their place, whose cells stand on the right."""
    heads = list(heads)
    rule = ["---:" if place in right else "---" for place in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def plain(words: str) -> str:
    """Words that somebody else chose, on one line and without Markdown or HTML of their own."""
    return "".join(ESCAPED.get(letter, letter) for letter in " ".join(words.split()))
