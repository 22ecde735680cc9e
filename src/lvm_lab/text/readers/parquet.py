"""Parquet: one document a row, or one chunk a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow
import pyarrow.parquet

from lvm_lab.errors import UserError
from lvm_lab.text import places, records
from lvm_lab.text.document import Document
from lvm_lab.text.table import Table

ROWS_AT_ONCE = 1_024


@dataclass(kw_only=True)
class Parquet(Table):
    """path: a file, several, a pattern, or a folder with its .parquet files, all of them in the order of their paths.

    A row is a document (columns `id` and `text`, `paragraphs` or `chunks`; `title` and `source` where there are any) or
    a chunk (`article_index`, `chunk_index`, `text`). id, title, text: what these columns are called; id=null numbers
    documents. lines: as of reader=jsonl.
    """

    kind: ClassVar[str] = "parquet"

    def _read(self) -> Iterator[Document]:
        for file in self._files():
            self._check_columns(file)
        return records.documents(self._rows, self._names(), self.lines)

    def _digest(self) -> str:
        return places.digest(self._files())

    def _files(self) -> list[Path]:
        return places.files(self.path, self.kind, "documents.parquet", (".parquet",))

    def _check_columns(self, file: Path) -> None:
        """What the schema alone can refuse, before any text is read."""
        there = _opened(file).schema_arrow.names
        needed = [records.ARTICLE, records.CHUNK] if records.ARTICLE in there else [self.id] if self.id else []
        missing = [name for name in needed if name not in there]
        if not {self.text, "paragraphs", "chunks"} & set(there):
            missing.append(self.text)
        if missing:
            raise UserError(
                f"{file} has the columns {', '.join(there)} and not {' and '.join(missing)}; set reader.id and "
                "reader.text to what they are called (reader.id=null numbers the rows)."
            )

    def _rows(self) -> Iterator[records.Row]:
        for file in self._files():
            table = _opened(file)
            columns = [name for name in table.schema_arrow.names if name in self._names().columns]
            number = 0
            try:
                for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns):
                    for row in batch.to_pylist():
                        yield f"{file}, row {number}", row
                        number += 1
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                raise _unreadable(file, error) from error


def _opened(file: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UserError:
    words = " ".join(str(error).split()).rstrip(".")[:200]
    return UserError(f"{file} is not readable as Parquet ({words}); copy it again, or write it anew.")
