"""JSON lines: one document a line, or one chunk a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lvm_lab.errors import UserError
from lvm_lab.text import places, records
from lvm_lab.text.document import Document
from lvm_lab.text.table import Table


@dataclass(kw_only=True)
class Jsonl(Table):
    """path: a file, several, or a pattern; gzipped ones end in .gz.

    A line is a document (`id`, and `text`, `paragraphs` or `chunks`; `title` and `source` where there are any) or a
    chunk (`article_index`, `chunk_index`, `text`). id, title, text: what these are called; id=null numbers documents.
    lines: whether a text's lines are joined to paragraphs that blank lines end, or are the paragraphs.
    """

    kind: ClassVar[str] = "jsonl"

    def _read(self) -> Iterator[Document]:
        self._files()
        return records.documents(self._rows, self._names(), self.lines)

    def _digest(self) -> str:
        return places.digest(self._files())

    def _files(self) -> list[Any]:
        return places.files(self.path, self.kind, "documents.jsonl")

    def _rows(self) -> Iterator[records.Row]:
        for file in self._files():
            for number, line in places.lines(file):
                yield _parsed(line, f"{file}, line {number}")


def _parsed(line: str, place: str) -> records.Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        words = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(f"{place} is no JSON ({words}); mend the line, one object a line.") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is JSON but no object; write one object a line, with an id and a text.")
    return place, row
