"""What the lab's chunkers share: documents that are chunks already, and how settings are refused."""

from __future__ import annotations

from collections.abc import Sequence

from lvm_lab.errors import UserError
from lvm_lab.text.document import Chunked, Document


def whole(texts: Sequence[str]) -> Chunked:
    """All chunks of a document as one stretch."""
    return Chunked(tuple(texts), (len(texts),) if texts else ())


def untouched(document: Document) -> Chunked:
    """A document that is chunked, with its vectors, as it is."""
    texts = document.paragraphs
    return Chunked(texts, (len(texts),) if texts else (), vectors_ND=document.vectors_ND)


def at_least(least: float, **settings: float | None) -> None:
    """UserError for a setting of the chunker that is below the least that makes sense; None is none."""
    for name, value in settings.items():
        if value is not None and value < least:
            raise UserError(f"chunker.{name}={value} does not fit; give it {least} or more.")
