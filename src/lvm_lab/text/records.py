"""Rows of a table or lines of a file, as plain dicts, to documents: one a row, or one chunk a row to be grouped.

A row with `article_index` is a chunk, any other a document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lvm_lab.errors import UserError
from lvm_lab.text.document import Document
from lvm_lab.text.prose import Lines, paragraphs

ARTICLE, CHUNK = "article_index", "chunk_index"
# Where a row stands, for messages, and its values.
Row = tuple[str, Mapping[str, Any]]
Rows = Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Names:
    """What a document's fields are called. id None: a document is named by its number from 0."""

    id: str | None = "id"
    title: str = "title"
    text: str = "text"
    source: str = "source"

    @property
    def columns(self) -> frozenset[str]:
        """All that a row is asked for."""
        named = {self.title, self.text, self.source} | ({self.id} if self.id is not None else set())
        return frozenset(named | {"paragraphs", "chunks", ARTICLE, CHUNK})


def documents(rows: Rows, names: Names, lines: Lines) -> Iterator[Document]:
    """The documents of rows, which are read again, first to last, each time that they are called."""
    first = next(rows(), None)
    if first is not None and ARTICLE in first[1]:
        return _grouped(rows, names)
    return _separate(rows, names, lines)


def _separate(rows: Rows, names: Names, lines: Lines) -> Iterator[Document]:
    for number, (place, row) in enumerate(rows()):
        if ARTICLE in row:
            raise UserError(f"{place} is a chunk ({ARTICLE}) among documents; keep the two in files of their own.")
        name = str(number) if names.id is None else identifier(row, names.id, place)
        title, source = _optional(row, names.title, place), _optional(row, names.source, place)
        if row.get("chunks") is not None:
            yield Document(name, title, source, strings(row["chunks"], "chunks", place), chunked=True)
        elif row.get("paragraphs") is not None:
            yield Document(name, title, source, strings(row["paragraphs"], "paragraphs", place))
        elif names.text not in row and {"chunks", "paragraphs"} & row.keys():
            # null, as a text may be.
            yield Document(name, title, source, ())
        elif names.text not in row:
            there = ", ".join(map(str, row)) or "nothing"
            raise UserError(
                f"{place} has {there} and no text; name it {names.text}, paragraphs or chunks, or set reader.text."
            )
        else:
            yield Document(name, title, source, _text(row[names.text], names.text, place, lines))


def _grouped(rows: Rows, names: Names) -> Iterator[Document]:
    """Chunks to documents, in the order in which their articles begin.

    A first pass counts each article's chunks, so that a document leaves memory with its last chunk: where articles
    stand one after the other there is one at a time.
    """
    counts = Counter(identifier(row, ARTICLE, place) for place, row in rows())
    begun: dict[str, dict[int, str]] = {}
    about: dict[str, tuple[str, str]] = {}
    for place, row in rows():
        article = identifier(row, ARTICLE, place)
        chunks = begun.setdefault(article, {})
        about.setdefault(article, (_optional(row, names.title, place), _optional(row, names.source, place)))
        number = row.get(CHUNK)
        if not isinstance(number, int) or isinstance(number, bool):
            raise UserError(
                f"{place}: {CHUNK} is {number!r}; give it the chunk's place in its article, a whole number."
            )
        if number in chunks:
            raise UserError(f"{place}: article {article} has chunk {number} twice; keep one row for each.")
        if not isinstance(row.get(names.text), str):
            raise UserError(f"{place} has no text under {names.text}; add the chunk's text, or set reader.text.")
        chunks[number] = row[names.text]
        while begun and len(begun[first := next(iter(begun))]) == counts[first]:
            texts = tuple(text for _, text in sorted(begun.pop(first).items()))
            yield Document(first, *about.pop(first), texts, chunked=True)


def identifier(row: Mapping[str, Any], name: str, place: str) -> str:
    """A row's id: a text, or a whole number."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        hint = f"give each row one, or set reader.id={'null to number them' if name == 'id' else 'COLUMN'}"
        if name == ARTICLE:
            hint = "give each row the article that it is of, a whole number or a name"
        what = f"has no {name}" if value is None else f"has {name}={value!r}, which names nothing"
        raise UserError(f"{place} {what}; {hint}.")
    return str(value)


def strings(value: Any, name: str, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise UserError(f"{place}: {name} is no list of texts; give it one, in order.")
    return tuple(value)


def _text(value: Any, name: str, place: str, lines: Lines) -> tuple[str, ...]:
    """A text's paragraphs, or a list of them; a row without text is an empty document."""
    if value is None or isinstance(value, str):
        return paragraphs(value or "", lines)
    if not isinstance(value, list | tuple):
        what = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:37]}..."
        raise UserError(f"{place}: {name} is {what}, which is neither a text nor a list of texts; quote it.")
    return strings(value, name, place)


def _optional(row: Mapping[str, Any], name: str, place: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{place}: {name} is {value!r}, which is no text; quote it, or leave it out.")
    return value
