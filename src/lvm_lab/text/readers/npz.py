"""An article bank (.npz) with the texts of its chunks, and with its vectors for encoder=stored."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from lvm_lab.data.importers import article_bank, coded
from lvm_lab.data.importers.npz_file import TEXT_KEYS, NpzFile
from lvm_lab.data.tmd import MISSING, Names
from lvm_lab.errors import UserError
from lvm_lab.files import sha256
from lvm_lab.text.collection import Collection
from lvm_lab.text.document import Document
from lvm_lab.text.places import NEEDED
from lvm_lab.text.tmd_names import check_named, given_names

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Npz(Collection):
    """path: an article bank; its rows are chunks, which no chunker cuts.

    texts: false takes a bank without texts too: its documents then have vectors and empty chunks, which
    encoder=stored alone can use. tmd: None or false leaves the TMD codes of a bank out that has them; tmd_names: a YAML
    of what they mean, or `lab`, the lab's own; None: what the bank says, if it does.
    """

    kind: ClassVar[str] = "npz"
    # Codes are content where there are any (`_digest`).
    places: ClassVar[tuple[str, ...]] = ("path", "tmd", "tmd_names")

    path: str | None = None
    texts: bool = True
    tmd: bool | None = True
    tmd_names: str | None = None

    def tmd_table(self) -> Names | None:
        return None if self._coded is None else self._coded[1]

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
        codes_N = material.codes_N if self._coded is not None else None
        for name, start, length in zip(table.id, table.start.tolist(), table.length.tolist(), strict=True):
            rows = slice(start, start + length)
            own_N = None if codes_N is None else codes_N[rows]
            vectors_ND = material.vectors_ND[rows]
            yield Document(name, "", "", tuple(texts[rows]), chunked=True, vectors_ND=vectors_ND, codes_N=own_N)

    def _digest(self) -> str:
        with NpzFile(self._file()) as npz:
            digest = sha256(npz.path)
        if self._coded is None:
            return digest
        return hashlib.sha256(repr((digest, self._coded[1].recorded())).encode()).hexdigest()

    @cached_property
    def _coded(self) -> tuple[np.ndarray, Names] | None:
        """The TMD codes of the bank's rows and what they mean; None where none are brought."""
        if not self.tmd:
            if self.tmd_names is not None:
                raise UserError(
                    "reader.tmd_names says what codes mean and reader.tmd takes none; leave one of the two out."
                )
            return None
        with NpzFile(self._file()) as npz:
            key = npz.find(*article_bank.VECTORS, rank=2)
            codes = coded.Coded() if key is None else coded.read_codes(npz, npz.headers[key].shape[0])
            names = coded.read_names(npz)
        if codes.note:
            log.warning("%s: %s", self.path, codes.note)
        if codes.codes_N is None or (codes.codes_N == MISSING).all():
            return None
        if self.tmd_names is not None:
            names = given_names(self.tmd_names, f"reader={self.kind}")
            check_named(codes.codes_N, names, str(self.path), self.tmd_names)
        return codes.codes_N, names

    def _name(self) -> str:
        return str(self.path)

    def _file(self) -> Path:
        if not self.path:
            raise UserError(NEEDED.format(kind=self.kind, example="bank.npz"))
        return Path(self.path).expanduser()
