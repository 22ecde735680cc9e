"""Texts to sentences, and sentences to chunks; no word is lost, doubled or moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from lvm_lab.text.installed import needed

Unit = Literal["characters", "words"]


def split(text: str, language: str) -> list[str]:
    """The sentences of a text (sentencex: rules and abbreviations of each language), stripped, none empty."""
    return [sentence for piece in needed("sentencex").segment(language, text) if (sentence := piece.strip())]


def size(text: str, unit: Unit) -> int:
    return len(text) if unit == "characters" else len(text.split())


def pack(sentences: Iterable[str], length: int, unit: Unit) -> list[str]:
    """Sentences joined to chunks of at most `length`; one that is longer stands alone."""
    chunks: list[list[str]] = []
    total = 0
    for sentence in sentences:
        # The blank between them counts, of words there is none.
        more = size(sentence, unit) + (unit == "characters")
        if not chunks or total + more > length + (unit == "characters"):
            chunks.append([])
            total = 0
        chunks[-1].append(sentence)
        total += more
    return [" ".join(chunk) for chunk in chunks]


def pack_all(paragraphs: Sequence[str], length: int, unit: Unit, language: str, *, across: bool) -> list[str]:
    """Each paragraph's sentences packed by themselves, or, `across`, those of all."""
    sentences = [split(paragraph, language) for paragraph in paragraphs]
    groups = [[one for group in sentences for one in group]] if across else sentences
    return [chunk for group in groups for chunk in pack(group, length, unit)]
