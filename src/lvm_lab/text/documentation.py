"""Plain documentation text, as docstrings and Sphinx's text builder have it, to paragraphs that read as prose."""

from __future__ import annotations

import re

# What begins a paragraph of its own within a block of lines.
ITEM = re.compile(r"^(?:[*•o-]|--|\(?\d{1,2}[.)]|\(?[a-z]\)|#\.)\s+(?=\S)")
# Whole blocks that hold no prose: doctests and prompts, grammar, rules and borders of tables, fields and directives.
NO_PROSE = re.compile(
    r"^\s*(?:>>>|\.\.\.(?:\s|$)|\.\. |[$%#>|]\s|@\w|:\w+[^:]*:(?!`)|[-=*~+|^_.\s]{3,}$)"
    r"|::=|-->|</?\w+>|[=-]{5}|\|\s*$|\s\|\s|\S {3,}\S|\bTraceback\b|\bdef \w+\(|\bclass \w+[(:]|\$\w+: ",
    re.MULTILINE,
)
REMARK = re.compile(
    r"^\s*(?:Source code:|Availability:|Copyright|Deprecated since|Changed in version|New in version|See also)"
)
ROLE = re.compile(r":[\w:]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`")
EMPHASIS = re.compile(r"(?<![\w*])\*{1,2}(?=\S)([^*]*?\S)\*{1,2}(?![\w*])")
LITERAL = re.compile(r"`{1,2}([^`]+?)`{1,2}_*")
FOOTNOTE = re.compile(r"\s*\[(?:\d+|#\w*)\]_?")
# Words as people write them, and the small ones that no sentence does without.
QUOTES = "\"'\u201c\u201d\u2018\u2019"
WORD = re.compile(rf"^[({QUOTES}]*[A-Za-z]+(?:['\u2019-][A-Za-z]+)*[.,;:!?){QUOTES}]*$")
SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as at be by can do does for from has have if in is it its may must no not of on only or that "
        "the there these this to used when which will with you",
    )
)
MIN_WORDS, MIN_WORD_SHARE, MIN_SMALL_SHARE = 6, 0.7, 0.2


def prose(text: str) -> list[str]:
    """The paragraphs of a text that are sentences, in order, on one line each and without markup.

    Signatures, code, doctests, tables, grammar, field lists and remarks of versions are left out; so are headings.
    """
    pieces = [piece for block in re.split(r"\n\s*\n", text.expandtabs()) for piece in _pieces(block)]
    return [words for words in map(_plain, pieces) if reads_as_prose(words)]


def reads_as_prose(words: str) -> bool:
    """Whether a paragraph is made of sentences."""
    tokens = words.split()
    # Summary lines do without a full stop.
    ended = words[-1:] in tuple('.:!?)"”') or (words[-1:].isalnum() and words[0].isupper())
    if len(tokens) < MIN_WORDS or not ended or REMARK.match(words):
        return False
    plain = sum(bool(WORD.match(token)) for token in tokens)
    small = sum(token.strip(QUOTES + "().,;:").lower() in SMALL for token in tokens)
    return plain >= MIN_WORD_SHARE * len(tokens) and small >= MIN_SMALL_SHARE * len(tokens)


def _pieces(block: str) -> list[str]:
    """A block of lines cut at its items and where the indentation goes back or forth."""
    if NO_PROSE.search(block):
        return []
    pieces: list[list[str]] = []
    margin = -1
    for line in block.splitlines():
        indent = len(line) - len(line.lstrip())
        item = ITEM.match(line.lstrip())
        if item or indent != margin:
            pieces.append([])
        pieces[-1].append(line.strip()[item.end() if item else 0 :])
        # An item's further lines stand under its text.
        margin = indent + (item.end() if item else 0)
    return [_joined(lines) for lines in pieces]


def _joined(lines: list[str]) -> str:
    """Lines as one; a line that ends in a compound's hyphen goes on without a blank."""
    text = ""
    for line in lines:
        compound = bool(re.search(r"[A-Za-z]-$", text)) and line[:1].islower()
        text += line if compound or not text else f" {line}"
    return text


def _plain(words: str) -> str:
    for pattern in (ROLE, LITERAL, EMPHASIS):
        words = pattern.sub(r"\1", words)
    words = FOOTNOTE.sub("", words)
    return " ".join(re.sub(r"\s*::$", ":", words.strip()).split())
