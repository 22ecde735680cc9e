"""The store: documents' vectors at rest, in order, with their ids, texts and encoder contract.

A folder with `vectors.npy` (N x D, float16 or float32, opened with mmap), `documents.parquet`
(id, title, source, start, length), optional `chunks.parquet` (text, TMD code) and `manifest.json`.
A document whose chunks are not all there has several rows in `documents.parquet`, one for each
unbroken stretch, all with its (source, id); windows never cross a stretch's edge.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.flaws import check_vectors
from lvm_lab.errors import UserError
from lvm_lab.files import sha256

SCHEMA_VERSION = 1
DOCUMENT_COLUMNS = ("id", "title", "source", "start", "length")


@dataclass(frozen=True)
class Documents:
    """The table of documents, one entry a stretch of consecutive rows.

    store: which of several joined stores each entry is from; equal ids of two stores are two documents.
    """

    id: list[str]
    title: list[str]
    source: list[str]
    start: np.ndarray
    length: np.ndarray
    store: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.id)

    def names(self) -> list[str]:
        """One string a row, source and id: stretches of one document share it, and it decides the document's part."""
        return [f"{source}\x1f{ident}" for source, ident in zip(self.source, self.id, strict=True)]

    def numbers(self) -> np.ndarray:
        """The document's number for every row: stretches of one document share it."""
        number_of: dict[tuple[int, str], int] = {}
        whole = zip(self.store or [0] * len(self), self.names(), strict=True)
        return np.array([number_of.setdefault(document, len(number_of)) for document in whole], dtype=np.int64)


class Rows(Protocol):
    """Vectors at rest, N x D: a memory map, or several read as one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True)
class Store:
    """An open store; `vectors_ND` is a read-only memory map. `content` names the arrays' content.

    imported_from: the user's file, of a store that lies in the cache under a hash. reason: why its windows are
    isolated. documents_known: whether its documents are true ones, and not windows that share a vector.
    """

    path: Path
    vectors_ND: Rows
    documents: Documents
    contract: EncoderContract
    isolated: bool
    content: str
    imported_from: Path | None = None
    reason: str = ""
    documents_known: bool = True

    @property
    def name(self) -> str:
        """What messages call it: what the user knows it by."""
        return str(self.imported_from or self.path)

    @property
    def dim(self) -> int:
        return int(self.vectors_ND.shape[1])

    def texts(self) -> list[str] | None:
        """The chunks' texts by row, or None where the store has none."""
        file = self.path / "chunks.parquet"
        if not file.exists():
            return None
        return pq.read_table(file, columns=["text"])["text"].to_pylist()


def write_store(
    path: Path,
    vectors_ND: np.ndarray,
    documents: Documents,
    contract: EncoderContract,
    *,
    isolated: bool = False,
    texts: list[str] | None = None,
    reason: str = "",
    documents_known: bool = True,
    name: str | None = None,
) -> Store:
    """Write a store whole or not at all, and open it. name: what messages call its vectors, if not by `path`.

    Raises UserError for vectors that no experiment may start from: a wrong rank or dtype,
    NaN or infinity, zero vectors, documents that do not lie within the rows.
    """
    check_vectors(vectors_ND, name or str(path))
    total = len(vectors_ND)
    if len(documents) == 0 or np.any(documents.start < 0) or np.any(documents.start + documents.length > total):
        raise UserError(f"{path}: the table of documents points outside the {total} vectors; write the store again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        _save(building / "vectors.npy", np.ascontiguousarray(vectors_ND), path)
        columns = {name: getattr(documents, name) for name in DOCUMENT_COLUMNS}
        pq.write_table(pa.table(columns), building / "documents.parquet")
        if texts is not None:
            pq.write_table(pa.table({"text": texts}), building / "chunks.parquet")
        contract = replace(contract, dim=int(vectors_ND.shape[1]), dtype=str(vectors_ND.dtype))
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "encoder": contract.recorded(),
            "isolated": isolated,
            "reason": reason,
            "documents_known": documents_known,
            "sha256": {
                "vectors.npy": sha256(building / "vectors.npy"),
                "documents": _documents_digest(documents),
            },
        }
        (building / "manifest.json").write_text(json.dumps(manifest, indent=2))
        try:
            os.rename(building, path)
        except OSError:
            # Another process may have finished the same store first: then either one is right.
            if not (path / "manifest.json").exists():
                raise
            if json.loads((path / "manifest.json").read_text())["sha256"] != manifest["sha256"]:
                raise UserError(f"{path} holds another store already; delete it or choose another folder.") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return open_store(path)


def open_store(path: Path, *, verify: bool = False) -> Store:
    """Open a store; `verify` reads every byte and compares it with the manifest's sha256."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        vectors = np.load(path / "vectors.npy", mmap_mode="r", allow_pickle=False)
        table = pq.read_table(path / "documents.parquet", columns=list(DOCUMENT_COLUMNS))
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} is not a readable store ({error}); delete the folder and import it again.") from error
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has store schema {manifest.get('schema_version')} and this version reads {SCHEMA_VERSION}; "
            "delete the folder and import it again."
        )
    documents = Documents(
        id=table["id"].to_pylist(),
        title=table["title"].to_pylist(),
        source=table["source"].to_pylist(),
        start=table["start"].to_numpy().astype(np.int64),
        length=table["length"].to_numpy().astype(np.int64),
    )
    hashes = manifest["sha256"]
    if verify and (
        sha256(path / "vectors.npy") != hashes["vectors.npy"] or _documents_digest(documents) != hashes["documents"]
    ):
        raise UserError(f"{path} does not match the sha256 in its manifest; delete the folder and import it again.")
    content = hashlib.sha256(f"{hashes['vectors.npy']}{hashes['documents']}".encode()).hexdigest()
    return Store(
        path,
        vectors,
        documents,
        EncoderContract(**manifest["encoder"]),
        manifest["isolated"],
        content,
        reason=manifest.get("reason", ""),
        documents_known=manifest.get("documents_known", True),
    )


def _save(file: Path, vectors_ND: np.ndarray, store: Path) -> None:
    """An .npy; where the disk is full NumPy counts its values, and a user needs a word and a place."""
    try:
        np.save(file, vectors_ND, allow_pickle=False)
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(errno.ENOSPC, "its vectors could not be written whole (is the disk full?)", str(store)) from error


def _documents_digest(documents: Documents) -> str:
    """A digest of what the table says, since Parquet bytes differ between writers."""
    digest = hashlib.sha256()
    for key, start, length in zip(documents.names(), documents.start, documents.length, strict=True):
        digest.update(f"{key}\x1f{start}\x1f{length}\n".encode())
    return digest.hexdigest()
