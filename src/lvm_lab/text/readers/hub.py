"""A data set of Hugging Face `datasets`: a local folder, offline, or one of the hub, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lvm_lab.errors import UserError
from lvm_lab.text import records
from lvm_lab.text.document import Document
from lvm_lab.text.installed import needed
from lvm_lab.text.places import NEEDED, digest_by_name
from lvm_lab.text.table import Table

# What `save_to_disk` writes beside the tables: of one split, of several.
SAVED = ("dataset_info.json", "dataset_dict.json")


@dataclass(kw_only=True)
class Hub(Table):
    """path: a folder that `save_to_disk` wrote, a folder of data files (.jsonl, .csv, .parquet), or a name on the hub.

    config, split, revision: which of its tables. streaming: of the hub, reading without storing; false keeps a copy
    in the library's cache. id, title, text, lines: as of reader=parquet. No code of a data set is ever run.
    """

    kind: ClassVar[str] = "hub"

    path: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = True

    def _read(self) -> Iterator[Document]:
        table = self._table()
        return records.documents(lambda: self._rows(table), self._names(), self.lines)

    def _digest(self) -> str:
        folder = self._folder()
        if folder is None:
            return self._commit()
        files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
        return digest_by_name((file.relative_to(folder).as_posix(), file) for file in files)

    def _place(self) -> str:
        if not self.path:
            raise UserError(NEEDED.format(kind=self.kind, example="FOLDER_OR_NAME"))
        return self.path

    def _folder(self) -> Path | None:
        """The local folder; None for a name on the hub."""
        path = Path(self._place()).expanduser()
        if path.is_dir():
            return path
        if path.exists() or path.is_absolute() or self._place().startswith(("./", "../", "~")):
            what = "is no folder" if path.exists() else "does not exist"
            raise UserError(f"{path} {what}; give a data set's folder, or its name on the hub, OWNER/NAME.")
        return None

    def _table(self) -> Any:
        datasets, folder = needed("datasets"), self._folder()
        try:
            if folder is not None and any((folder / name).is_file() for name in SAVED):
                return self._of_split(datasets.load_from_disk(str(folder)))
            if folder is not None:
                # Streaming: without it the library writes a copy of the files into its cache.
                return datasets.load_dataset(str(folder), self.config, split=self.split, streaming=True)
            return datasets.load_dataset(
                self.path, self.config, split=self.split, revision=self._commit(), streaming=self.streaming
            )
        except UserError:
            raise
        except Exception as error:  # of the library, of the network, of every kind of file
            raise self._refusal(error) from error

    def _of_split(self, loaded: Any) -> Any:
        if not isinstance(loaded, dict):
            return loaded
        if self.split not in loaded:
            raise UserError(f"{self.path} has the splits {', '.join(loaded)} and no {self.split}; set reader.split.")
        return loaded[self.split]

    def _commit(self) -> str:
        """The commit of the data set on the hub, so that an interrupted ingestion goes on with the same files."""
        try:
            sha = needed("huggingface_hub").HfApi().dataset_info(self._place(), revision=self.revision).sha
        except UserError:
            raise
        except Exception as error:
            raise self._refusal(error) from error
        return str(sha)

    def _rows(self, table: Any) -> Iterator[records.Row]:
        columns = table.column_names
        # Pictures and sound would be decoded for nothing.
        some = [name for name in columns or () if name in self._names().columns]
        rows = iter(table.select_columns(some) if some else table)
        number = 0
        while True:
            try:
                row = next(rows, None)
            except Exception as error:
                raise self._refusal(error) from error
            if row is None:
                return
            yield f"{self.path}, row {number}", row
            number += 1

    def _refusal(self, error: Exception) -> UserError:
        words = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        return UserError(
            f"{self.path} cannot be read as a data set ({words}); check reader.path, reader.config and reader.split, "
            "and the network for a name on the hub."
        )
