"""What the lab's readers share: which documents of a place are read, what counts as one, and where they come from."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from lvm_lab.errors import UserError
from lvm_lab.text.document import Document
from lvm_lab.text.reader import Origin, Reader

EMPTY = "without text"


@dataclass(kw_only=True)
class Collection(Reader):
    """A reader whose subclass gives every document of a place, `_read`, and a digest of the place, `_digest`.

    source: the collection's name for all documents; without it a document's own source stands, or else `kind`.
    licence, origin: what the store's manifest says of them. limit: how many documents are read at most.
    sample: the first ones, or a random sample of them, in reading order; the draw is by a hash of (seed, source, id),
    so that it is the same on every machine, and it reads the place twice.
    """

    kind: ClassVar[str]

    source: str | None = None
    licence: str | None = None
    origin: str | None = None
    limit: int | None = None
    sample: Literal["first", "random"] = "first"
    seed: int = 0
    _sources: dict[str, None] = field(default_factory=dict, init=False, repr=False)
    _left_out: Counter[str] = field(default_factory=Counter, init=False, repr=False)

    @abstractmethod
    def _read(self) -> Iterator[Document]:
        """Every document of the place in its order, empty ones too, with "" for the source where it names none."""

    @abstractmethod
    def _digest(self) -> str:
        """A digest of the place's content, whatever the place is called."""

    def documents(self) -> Iterator[Document]:
        if self.limit is not None and self.limit < 1:
            raise UserError(f"reader.limit={self.limit} leaves no document; give it 1 or more, or null for all.")
        if self.sample == "random" and self.limit is None:
            raise UserError("reader.sample=random draws reader.limit documents; say how many, reader.limit=1000.")
        members = self._draw() if self.sample == "random" else None
        self._left_out.clear()
        count = 0
        for document in self._whole():
            if members is None or key(document) in members:
                count += 1
                yield document
            if count == self.limit:
                return
        if not count:
            raise UserError(f"{self._name()} has no document with text; give a place that has some.")

    def content(self) -> str:
        settings = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.init and one.name not in (*self.places, *self.secrets)
        }
        parts = json.dumps([self.kind, settings, self._digest()], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    def origins(self) -> list[Origin]:
        """Of the documents' own sources, those that were met so far, at least the first document's."""
        if self.source is None and not self._sources:
            next(self._whole(), None)
        names = [self.source] if self.source is not None else list(self._sources) or [self.kind]
        return [Origin(name, self.licence, self.origin) for name in names]

    def skipped(self) -> dict[str, int]:
        return {reason: count for reason, count in self._left_out.items() if count}

    def _leave_out(self, reason: str, count: int = 1) -> None:
        self._left_out[reason] += count

    def _whole(self) -> Iterator[Document]:
        """The documents that have text, each with its source, each key once."""
        keys: set[bytes] = set()
        for raw in self._read():
            document = cleaned(replace(raw, source=self.source or raw.source or self.kind))
            if not document.paragraphs:
                self._leave_out(EMPTY)
                continue
            if key(document) in keys:
                raise UserError(
                    f"{self._name()}: the document {document.id!r} of {document.source} comes twice; give each "
                    "document an id of its own."
                )
            keys.add(key(document))
            self._sources.setdefault(document.source)
            yield document

    def _draw(self) -> set[bytes]:
        """The keys of the sample: the `limit` documents whose hash with the seed is smallest."""
        assert self.limit is not None
        seed = str(self.seed).encode()
        ranked = ((hashlib.sha256(seed + key(document)).digest(), key(document)) for document in self._whole())
        return {name for _, name in heapq.nsmallest(self.limit, ranked)}

    def _name(self) -> str:
        """The place in a message."""
        return f"reader={self.kind}"


def key(document: Document) -> bytes:
    """16 bytes that stand for (source, id)."""
    return hashlib.sha256(json.dumps([document.source, document.id]).encode()).digest()[:16]


def cleaned(document: Document) -> Document:
    """The document with its paragraphs stripped and without the empty ones, whose vectors and codes go with them.

    A document with vectors and no text at all stays as it is: its vectors are what is wanted.
    """
    texts = [paragraph.strip() for paragraph in document.paragraphs]
    for text in (document.id, document.title, *texts):
        _check_characters(text, document.id)
    kept = [row for row, text in enumerate(texts) if text]
    vectors_ND, codes_N = document.vectors_ND, document.codes_N
    if vectors_ND is not None:
        kept = kept or list(range(len(texts)))
        vectors_ND = vectors_ND if len(kept) == len(texts) else vectors_ND[kept]
    codes_N = None if codes_N is None else codes_N[kept]
    return replace(document, paragraphs=tuple(texts[row] for row in kept), vectors_ND=vectors_ND, codes_N=codes_N)


def _check_characters(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the document {name!r} holds half of a surrogate pair ({text[error.start]!r}), which is no character; "
            "write the text as whole characters."
        ) from error
