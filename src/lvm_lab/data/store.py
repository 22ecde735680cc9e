"""The store: documents' vectors at rest, in order, with their ids, texts and encoder contract.

A folder with `manifest.json` and the parts that it lists, each a folder `parts/NAME` (`lvm_lab.data.part_files`) that
is never changed. An open store goes on reading the parts that it was opened with, whatever is appended meanwhile.
A document whose chunks are not all there has several rows in `documents.parquet`, one for each
unbroken stretch, all with its (source, id); windows never cross a stretch's edge.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lvm_lab.data import manifest as manifests
from lvm_lab.data import tmd
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.digests import remembered
from lvm_lab.data.documents import SCHEMA, Documents, concatenate
from lvm_lab.data.flaws import check_layout
from lvm_lab.data.manifest import DamagedStore, Manifest, folder_of, read_manifest, unreadable
from lvm_lab.data.part_files import CHUNKS, CODES, DOCUMENTS, VECTORS, Part, PartWriter
from lvm_lab.data.rows import JoinedRows, Rows
from lvm_lab.errors import UserError
from lvm_lab.files import sha256, write_atomically


@dataclass(frozen=True)
class Store:
    """An open store; `vectors_ND` is a read-only memory map, or several read as one. `content` names the arrays'
    content.

    imported_from: the user's file, of a store that lies in the cache under a hash. reason: why its windows are
    isolated. documents_known: whether its documents are true ones, and not windows that share a vector.
    parts: the folders of its parts, in the order of their rows. codes_N: the chunks' TMD codes, uint16, where any chunk
    has one (`lvm_lab.data.tmd.MISSING` where one has none); tmd: the table of what they mean.
    """

    path: Path
    vectors_ND: Rows
    documents: Documents
    contract: EncoderContract
    isolated: bool
    content: str
    imported_from: Path | str | None = None
    reason: str = ""
    documents_known: bool = True
    parts: tuple[Path, ...] = ()
    codes_N: np.ndarray | None = None
    tmd: tmd.Names | None = None

    @property
    def name(self) -> str:
        """What messages call it: what the user knows it by."""
        return str(self.imported_from or self.path)

    @property
    def dim(self) -> int:
        return int(self.vectors_ND.shape[1])

    def texts(self) -> list[str] | None:
        """The chunks' texts by row, empty in a part that has none, or None where no part has any."""
        return self._of_chunks("text")

    def chunk_ids(self) -> list[str] | None:
        """What the chunks are called where their vectors came from (`cpe_ids`), by row, as `texts`."""
        return self._of_chunks("id")

    @property
    def part_rows(self) -> list[int]:
        """How many rows each of its parts has."""
        maps = self.vectors_ND.parts if isinstance(self.vectors_ND, JoinedRows) else [self.vectors_ND]
        return [len(rows) for rows in maps]

    def _of_chunks(self, name: str) -> list[str] | None:
        files = [part / CHUNKS for part in self.parts]
        have = [file.exists() and name in pq.read_schema(file).names for file in files]
        if not any(have):
            return None
        values: list[str] = []
        for file, there, rows in zip(files, have, self.part_rows, strict=True):
            values += _column(file, name) if there else [""] * rows
        return values


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
    ids: list[str] | None = None,
    codes_N: np.ndarray | None = None,
    table: tmd.Names | None = None,
) -> Store:
    """Write a store whole or not at all, and open it. name: what messages call its vectors, if not by `path`.

    texts, ids, codes_N: one a row; table: what TMD codes mean, where it is known.

    Raises UserError for vectors that no experiment may start from: a wrong rank or dtype,
    NaN or infinity, zero vectors, documents that do not lie within the rows.
    """
    check_layout(vectors_ND, name or str(path))
    total = len(vectors_ND)
    if len(documents) == 0 or not documents.within(total):
        raise UserError(f"{path}: the table of documents points outside the {total} vectors; write the store again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        # Made by itself, so that it has the rights that a user's new folders have.
        store = building / "store"
        new = store / manifests.PARTS / "new"
        with PartWriter(new, int(vectors_ND.shape[1]), vectors_ND.dtype, name=name or str(path)) as writer:
            writer.append(vectors_ND, documents, texts, ids=ids, codes_N=codes_N)
            part = writer.close()
        writer.folder.rename(store / folder_of(part))
        contract = replace(contract, dim=writer.dim, dtype=str(writer.dtype))
        names = None if codes_N is None else table or tmd.Names()
        manifest = Manifest(contract, (part,), isolated, reason, documents_known, tmd=names)
        write_atomically(store / manifests.FILE, manifest.text())
        try:
            os.rename(store, path)
        except OSError:
            # Another process may have finished the same store first: then either one is right.
            if not (path / manifests.FILE).exists():
                raise
            if read_manifest(path).content != manifest.content:
                raise UserError(f"{path} holds another store already; choose another folder.") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return open_store(path)


def open_store(path: Path, *, verify: bool = False, cache: Path | None = None) -> Store:
    """Open a store. verify: every byte is read and compared with the manifest's sha256; with a cache, only where it
    is not known there that nobody has written to the file since it was (`lvm_lab.data.digests`)."""
    manifest = read_manifest(path)
    return open_parts(path, manifest, [path / folder_of(part) for part in manifest.parts], verify=verify, cache=cache)


def open_made(path: Path, what: str, *, verify: bool = False, cache: Path | None = None) -> Store:
    """Open a store that the lab made in its cache; `what` says of what."""
    try:
        return open_store(path, verify=verify, cache=cache)
    except DamagedStore as error:
        raise UserError(
            f"{what} is damaged ({error.flaw}); delete the folder {path} and give the command again."
        ) from error


def open_parts(
    path: Path, manifest: Manifest, folders: Sequence[Path], *, verify: bool = False, cache: Path | None = None
) -> Store:
    """The store of a manifest whose parts lie in these folders."""
    maps, tables, codes = [], [], []
    for part, folder in zip(manifest.parts, folders, strict=True):
        vectors_ND, documents = open_part(path, folder, part, verify=verify, cache=cache)
        maps.append(vectors_ND)
        tables.append(documents)
        codes.append(_codes(path, folder, part, len(vectors_ND)))
    if len({vectors_ND.shape[1] for vectors_ND in maps}) > 1:
        raise unreadable(path, "its parts are of different dimensions")
    single = len(maps) == 1
    return Store(
        path,
        maps[0] if single else JoinedRows(maps),
        tables[0] if single else concatenate(tables, [len(vectors_ND) for vectors_ND in maps]),
        manifest.contract,
        manifest.isolated,
        manifest.content,
        reason=manifest.reason,
        documents_known=manifest.documents_known,
        parts=tuple(folders),
        codes_N=tmd.join(codes, [len(vectors_ND) for vectors_ND in maps]),
        tmd=manifest.tmd,
    )


def open_part(
    path: Path | str, folder: Path, part: Part, *, verify: bool = False, cache: Path | None = None
) -> tuple[np.ndarray, Documents]:
    """A part's vectors and documents. path: what messages call its store; verify, cache: as of `open_store`."""
    for file in (folder / VECTORS, folder / DOCUMENTS, folder / CHUNKS):
        # Opening a pipe would wait for somebody to write into it.
        if file.exists() and not file.is_file():
            raise unreadable(path, f"{file} is no plain file")
    try:
        vectors_ND: np.ndarray = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        documents = Documents.of(pq.read_table(folder / DOCUMENTS, columns=SCHEMA.names))
    except (OSError, EOFError, ValueError, KeyError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    if vectors_ND.ndim != 2 or (part.rows is not None and len(vectors_ND) != part.rows):
        raise unreadable(path, f"{folder / VECTORS} has shape {vectors_ND.shape} and {part.rows} rows are listed")
    _check_chunks(path, folder, part, len(vectors_ND))
    if not documents.within(len(vectors_ND)):
        raise unreadable(path, f"{folder / DOCUMENTS} points outside the {len(vectors_ND)} vectors")
    if verify:
        _verify(path, folder, part, documents, cache)
    return vectors_ND, documents


def _check_chunks(path: Path | str, folder: Path, part: Part, rows: int) -> None:
    """Raises UserError for texts that the manifest does not list (schema 1 lists none) or that are not one a vector."""
    file = folder / CHUNKS
    if not file.exists():
        return
    if part.name != manifests.IN_THE_STORE and CHUNKS not in part.sha256:
        raise unreadable(path, f"{file} is not listed in its manifest")
    try:
        texts = pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
    if texts != rows:
        raise unreadable(path, f"{file} has {texts} rows for {rows} vectors")


def _codes(path: Path | str, folder: Path, part: Part, rows: int) -> np.ndarray | None:
    """A part's TMD codes, where it has any."""
    if CODES not in part.sha256:
        return None
    try:
        codes_N: np.ndarray = np.load(folder / part.files[CODES], allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise unreadable(path, error) from error
    if codes_N.shape != (rows,) or codes_N.dtype != np.uint16 or not tmd.fit(codes_N):
        raise unreadable(path, f"{folder / part.files[CODES]} holds no TMD code for each of {rows} vectors")
    return codes_N


def _verify(path: Path | str, folder: Path, part: Part, documents: Documents, cache: Path | None) -> None:
    """Raises UserError for a part that is not what its manifest says."""
    for name, digest in part.sha256.items():
        file = folder / part.files[name]
        compute = documents.digest if name == "documents" else partial(sha256, file)
        try:
            matches = remembered(file, cache, name, compute) == digest
        except OSError as error:
            raise unreadable(path, error) from error
        if not matches:
            raise DamagedStore(f"{path} does not match the sha256 in its manifest ({file.name})")


def _column(file: Path, name: str) -> list[str]:
    return pq.read_table(file, columns=[name])[name].combine_chunks().to_numpy(zero_copy_only=False).tolist()
