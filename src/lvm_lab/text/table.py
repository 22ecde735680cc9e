"""What readers of rows share: what a row's fields are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvm_lab.text import records
from lvm_lab.text.collection import Collection
from lvm_lab.text.prose import Lines


@dataclass(kw_only=True)
class Table(Collection):
    """A reader whose place, `path`, has a document or a chunk a row.

    id, title, text: what these fields are called; id=null numbers documents. lines: whether a text's lines are joined
    to paragraphs that blank lines end, or are the paragraphs.
    """

    places: ClassVar[tuple[str, ...]] = ("path",)

    path: str | list[str] | None = None
    id: str | None = "id"
    title: str = "title"
    text: str = "text"
    lines: Lines = "joined"

    def _names(self) -> records.Names:
        return records.Names(self.id, self.title, self.text)

    def _name(self) -> str:
        return str(self.path)
