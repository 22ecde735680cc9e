"""A folder of text and Markdown, one document a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lvm_lab.errors import UserError
from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.installed import needed
from lvm_lab.text.places import NEEDED, digest_by_name, text_of, unreadable
from lvm_lab.text.prose import Lines, paragraphs

ENDINGS = (".txt", ".md")
OUTSIDE = "a link that leads out of the folder"


@dataclass(kw_only=True)
class Folder(Collection):
    """path: the folder, read with all folders in it, by name; hidden files and folders are left out, and so are links
    that lead out of it.

    A document's id is its file's path in the folder. lines: as of reader=jsonl, for .txt. code, tables: whether
    Markdown's blocks of code and tables are read too.
    """

    kind: ClassVar[str] = "folder"
    places: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = None
    lines: Lines = "joined"
    code: bool = False
    tables: bool = False

    def _read(self) -> Iterator[Document]:
        files = self._inside()
        self._left_out[OUTSIDE] = len(self._files()) - len(files)
        for file in files:
            # Opening a pipe would wait for somebody to write into it.
            if not file.is_file():
                raise UserError(f"{file} is no plain file; move it out of the folder.")
            name, text = self._id(file), text_of(file)
            title, pieces = file.stem, paragraphs(text, self.lines) if file.suffix == ".txt" else ()
            if file.suffix == ".md":
                heading, pieces = needed("lvm_lab.text.markdown").read(text, code=self.code, tables=self.tables)
                title = heading or title
            yield Document(name, title, "", pieces)

    def _digest(self) -> str:
        return digest_by_name((self._id(file), file) for file in self._inside() if file.is_file())

    def _name(self) -> str:
        return str(self.path)

    def _root(self) -> Path:
        if not self.path:
            raise UserError(NEEDED.format(kind=self.kind, example="FOLDER"))
        root = Path(self.path).expanduser()
        if not root.is_dir():
            what = "is no folder" if os.path.lexists(root) else "does not exist"
            raise UserError(f"{root} {what}; give the folder that the texts lie in.")
        return root

    def _id(self, file: Path) -> str:
        return file.relative_to(self._root()).as_posix()

    def _files(self) -> list[Path]:
        root = self._root()
        listed: list[Path] = []
        for folder, folders, names in os.walk(root, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            listed += [Path(folder, name) for name in names if name.endswith(ENDINGS) and not name.startswith(".")]
        for file in listed:
            if not _is_text(file):
                raise UserError(f"{str(file)!a} has a name that is not UTF-8; rename it.")
        if not listed:
            raise UserError(f"{root} has no files that end in {' or '.join(ENDINGS)}; give the folder that has them.")
        return sorted(listed, key=lambda file: file.as_posix())

    def _inside(self) -> list[Path]:
        root = self._root().resolve()
        return [file for file in self._files() if file.resolve().is_relative_to(root)]


def _is_text(file: Path) -> bool:
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(error: OSError) -> None:
    raise unreadable(Path(error.filename), error) from error
