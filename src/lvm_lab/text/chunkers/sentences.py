"""Sentences packed to a target length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.cutting import at_least, untouched, whole
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.sentences import Unit, pack, split, split_all


@dataclass(frozen=True)
class Sentences(Chunker):
    """length: the most that a chunk has, in `unit`; a sentence that is longer stands alone. language: a code of
    ISO 639-1, whose rules and abbreviations end sentences. across_paragraphs: whether a chunk goes on in the next
    paragraph.
    """

    length: int = 320
    unit: Unit = "characters"
    language: str = "en"
    across_paragraphs: bool = False

    def __post_init__(self) -> None:
        at_least(1, length=self.length)

    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        return [untouched(one) if one.chunked else whole(self._chunks(one)) for one in documents]

    def _chunks(self, document: Document) -> list[str]:
        if self.across_paragraphs:
            return pack(split_all(document.paragraphs, self.language), self.length, self.unit)
        groups = [split(paragraph, self.language) for paragraph in document.paragraphs]
        return [chunk for group in groups for chunk in pack(group, self.length, self.unit)]
