"""A paragraph a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvm_lab.errors import UserError
from lvm_lab.text.chunker import Chunker, Encode
from lvm_lab.text.cutting import at_least, untouched, whole
from lvm_lab.text.document import Chunked, Document
from lvm_lab.text.sentences import pack, split


@dataclass(frozen=True)
class Paragraph(Chunker):
    """min_characters: a shorter paragraph, such as a heading, joins the next one, and the last one the one before it.
    max_characters: a longer one is split between sentences (null: none is), of which a longer one stands alone.
    language: the sentences', as of chunker=sentences.
    """

    min_characters: int = 0
    max_characters: int | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        at_least(0, min_characters=self.min_characters)
        at_least(1, max_characters=self.max_characters)
        if self.max_characters is not None and self.min_characters > self.max_characters:
            raise UserError(
                f"chunker.min_characters={self.min_characters} is more than chunker.max_characters="
                f"{self.max_characters}; give it less."
            )

    def chunk(self, documents: Sequence[Document], encode: Encode) -> list[Chunked]:
        return [untouched(one) if one.chunked else whole(self._chunks(one.paragraphs)) for one in documents]

    def _chunks(self, paragraphs: Sequence[str]) -> list[str]:
        return [piece for chunk in self._joined(paragraphs) for piece in self._split(chunk)]

    def _joined(self, paragraphs: Sequence[str]) -> list[str]:
        chunks: list[str] = []
        held = ""
        for paragraph in paragraphs:
            held = f"{held} {paragraph}" if held else paragraph
            if len(held) >= self.min_characters:
                chunks.append(held)
                held = ""
        if held and chunks:
            chunks[-1] = f"{chunks[-1]} {held}"
        elif held:
            chunks.append(held)
        return chunks

    def _split(self, chunk: str) -> list[str]:
        if self.max_characters is None or len(chunk) <= self.max_characters:
            return [chunk]
        return pack(split(chunk, self.language), self.max_characters, "characters")
