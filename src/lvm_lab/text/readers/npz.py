"""An article bank (.npz) with the texts of its chunks, and with its vectors for encoder=stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lvm_lab.data.importers import article_bank
from lvm_lab.data.importers.npz_file import TEXT_KEYS, NpzFile
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.places import NEEDED


@dataclass(kw_only=True)
class Npz(Collection):
    """path: an article bank; its rows are chunks, which no chunker cuts.

    texts: false takes a bank without texts too: its documents then have vectors and empty chunks, which
    encoder=stored alone can use.
    """

    kind: ClassVar[str] = "npz"
    places: ClassVar[tuple[str, ...]] = ("path",)

    path: str | None = None
    texts: bool = True

    def _read(self) -> Iterator[Document]:
        with NpzFile(self._file()) as npz:
            if not article_bank.is_bank(npz) and not npz.find(*article_bank.VECTORS, rank=2):
                raise UserError(
                    f"{npz.path} is no article bank, and windows are no documents; give the bank that they were cut "
                    "from, or train on the file itself with data=npz."
                )
            material = article_bank.read_bank(npz, article_bank.index_bank(npz), "")
            pickled = set(npz.pickled()) & set(TEXT_KEYS)
        if material.texts is None and self.texts:
            why = "has its texts pickled, which are never unpickled here" if pickled else "has no texts (concept_texts)"
            raise UserError(
                f"{self.path} {why}; save them as an array of strings, or take its vectors alone, encoder=stored "
                "reader.texts=false."
            )
        texts = material.texts or [""] * len(material.vectors_ND)
        table = material.documents
        for name, start, length in zip(table.id, table.start.tolist(), table.length.tolist(), strict=True):
            rows = slice(start, start + length)
            yield Document(name, "", "", tuple(texts[rows]), chunked=True, vectors_ND=material.vectors_ND[rows])

    def _digest(self) -> str:
        with NpzFile(self._file()) as npz:
            return sha256(npz.path)

    def _name(self) -> str:
        return str(self.path)

    def _file(self) -> Path:
        if not self.path:
            raise UserError(NEEDED.format(kind=self.kind, example="bank.npz"))
        return Path(self.path).expanduser()
