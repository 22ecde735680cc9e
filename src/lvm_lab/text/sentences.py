"""Texts to sentences, and sentences to chunks; no word is lost, doubled or moved.

A sentence keeps the blanks behind it, so that sentences joined are their text again, also where a script has no blanks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from lvm_lab.text.installed import needed

Unit = Literal["characters", "words"]
# Full stops of scripts that have no blanks; elsewhere a sentence ends at a blank or goes on.
WIDE_STOPS = "。！？．｡︒﹗﹖។"  # noqa: RUF001


def split(text: str, language: str) -> list[str]:
    """The sentences of a text (sentencex: rules and abbreviations of each language), which joined are the text."""
    sentences: list[str] = []
    for piece in needed("sentencex").segment(language, text):
        if sentences and not _apart(sentences[-1], piece):
            sentences[-1] += piece
        else:
            sentences.append(piece)
    return sentences


def _apart(before: str, after: str) -> bool:
    """Whether two pieces of a text are two sentences: both have words, and no word goes on from one into the other."""
    edge = before[-1].isspace() or before[-1] in WIDE_STOPS or after[0].isspace()
    return edge and bool(before.strip()) and bool(after.strip())


def size(text: str, unit: Unit) -> int:
    return len(text) if unit == "characters" else len(text.split())


def pack(sentences: Iterable[str], length: int, unit: Unit) -> list[str]:
    """Sentences joined to chunks of at most `length`; one that is longer stands alone."""
    chunks: list[str] = []
    for sentence in sentences:
        if chunks and size((chunks[-1] + sentence).strip(), unit) <= length:
            chunks[-1] += sentence
        else:
            chunks.append(sentence)
    return [chunk.strip() for chunk in chunks]


def split_all(paragraphs: Sequence[str], language: str) -> list[str]:
    """The sentences of all paragraphs in a row, with a blank between two paragraphs."""
    return [sentence for paragraph in paragraphs for sentence in split(f"{paragraph} ", language)]
