"""A part into a store, whole or not at all: several processes may do it at once, and readers see no half store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.documents import Documents
from lvm_lab.data.joined import either
from lvm_lab.data.manifest import FILE, PART_NAME, PARTS, Manifest, Origin, folder_of, read_manifest
from lvm_lab.data.part_files import CHUNKS, CODES, CODES_FILE, DOCUMENTS, VECTORS, Part, write_codes
from lvm_lab.data.store import Store, open_store
from lvm_lab.data.tmd import MISSING, Names
from lvm_lab.errors import UserError
from lvm_lab.files import to_disk, write_atomically

LOCK = ".lock"


def add_part(
    path: Path,
    folder: Path,
    part: Part,
    contract: EncoderContract,
    *,
    origins: Sequence[Origin] = (),
    isolated: bool = False,
    reason: str = "",
    documents_known: bool = True,
    table: Names | None = None,
) -> Store:
    """Move a closed part (`PartWriter`) into the store at `path`, which is made where there is none, and open that.

    folder: where the part lies, on the store's file system. Its documents get into the part (train, val or test) that
    their source and id say, and move no other; the rows of a store are counted in the order of its parts' content, so
    that the store of some parts is the same whoever came first. A process that dies on the way leaves the store as it
    was. table: what the part's TMD codes mean; a store of another table has them mapped to its own.

    Raises UserError, and leaves `folder` where it is, for a part or a document that is there already, and for one that
    does not go with the store: another encoder or dtype, isolated windows beside documents, TMD codes of names that
    it has not.
    """
    path.mkdir(parents=True, exist_ok=True)
    names = (table or Names()) if CODES in part.sha256 else None
    new = Manifest(_measured(contract, folder), (part,), isolated, reason, documents_known, tuple(origins), names)
    with FileLock(path / LOCK):
        is_store = (path / FILE).exists()
        _remove_orphans(path, read_manifest(path).parts if is_store else ())
        manifest = _joined(path, folder, new) if is_store else new
        place = path / folder_of(part)
        place.parent.mkdir(exist_ok=True)
        os.rename(folder, place)
        to_disk(place.parent)
        write_atomically(path / FILE, manifest.text())
    return open_store(path)


def _measured(contract: EncoderContract, folder: Path) -> EncoderContract:
    vectors_ND = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    return replace(contract, dim=int(vectors_ND.shape[1]), dtype=str(vectors_ND.dtype))


def _joined(path: Path, folder: Path, new: Manifest) -> Manifest:
    """The manifest of a store with one more part."""
    old, store = read_manifest(path), open_store(path)
    (part,) = new.parts
    if any(one.content == part.content for one in old.parts):
        raise UserError(f"{path} has these vectors already; append others.")
    conflict = old.contract.conflict(new.contract)
    if conflict is not None:
        raise UserError(f"{path} is of another encoder ({conflict}); append vectors of its own, or name another store.")
    if store.vectors_ND.dtype != new.contract.dtype:
        dtype = store.vectors_ND.dtype
        raise UserError(
            f"{path} has its vectors in {dtype} and these are in {new.contract.dtype}; append them with "
            f"dtype={dtype}, or name another store."
        )
    if old.isolated != new.isolated:
        raise UserError(f"{path}: isolated windows and whole documents do not go together; name another store.")
    mine = Documents.of(pq.read_table(folder / DOCUMENTS))
    twice = set(store.documents.names()) & set(mine.names())
    if twice:
        source, ident = min(twice).split("\x1f")
        raise UserError(
            f"{path} has {len(twice)} of these documents already (such as {ident!r} of the source {source!r}); "
            "append documents of other ids, or name another store."
        )
    part = _recoded(path, folder, part, new.tmd, old.tmd)
    # A store of schema 1 does not say how many rows it has.
    parts = [replace(one, rows=one.rows or len(store.vectors_ND)) for one in old.parts]
    return Manifest(
        replace(either(old.contract, new.contract), dtype=new.contract.dtype),
        (*parts, part),
        old.isolated,
        "; ".join(sorted({reason for reason in (old.reason, new.reason) if reason})),
        old.documents_known and new.documents_known,
        (*old.origins, *new.origins),
        old.tmd if old.tmd is not None else new.tmd,
    )


def _recoded(path: Path, folder: Path, part: Part, table: Names | None, wanted: Names | None) -> Part:
    """A part with its codes as the table of the store has them."""
    if table is None or wanted is None or table == wanted:
        return part
    file = folder / part.files[CODES]
    codes_N = table.mapped(np.load(file, allow_pickle=False), wanted, f"what is appended to {path}")
    recoded = replace(part, sha256=part.sha256 | {CODES: write_codes(folder, codes_N)})
    if recoded != part:
        file.unlink()
    return recoded


def set_codes(
    path: Path, codes_N: np.ndarray, table: Names, rows_N: np.ndarray | None = None, content: str | None = None
) -> Store:
    """Give the chunks of a store their TMD codes, one a row in the order of its rows, and open it.

    rows_N: the rows whose codes these are; the others keep what they have by the same table. content: of the store
    whose rows these are. Vectors and content stay what they are; a reader that has the store open goes on with the
    codes that it opened. Raises UserError where documents have come to the store since it had that content.
    """
    with FileLock(path / LOCK):
        manifest = read_manifest(path)
        store = open_store(path)
        if content not in (None, store.content):
            raise UserError(
                f"{path} has other documents than when its chunks began to get TMD codes; give the same command again, "
                "which goes on with those that have none."
            )
        if rows_N is not None:
            whole_N = np.full(len(store.vectors_ND), MISSING, np.uint16)
            if store.codes_N is not None and store.tmd == table:
                whole_N[:] = store.codes_N
            whole_N[rows_N] = codes_N
            codes_N = whole_N
        assert codes_N.shape == (len(store.vectors_ND),), "one code a chunk"
        parts, ends = [], 0
        for part, rows in zip(manifest.parts, store.part_rows, strict=True):
            digest = write_codes(path / folder_of(part), codes_N[ends : ends + rows])
            parts.append(replace(part, rows=rows, sha256=part.sha256 | {CODES: digest}))
            ends += rows
        write_atomically(path / FILE, replace(manifest, parts=tuple(parts), tmd=table).text())
        for old, new in zip(manifest.parts, parts, strict=True):
            # Who has just read the old manifest is about to open the codes that it lists.
            listed = {part.files.get(CODES) for part in (old, new)}
            for file in (path / folder_of(old)).iterdir():
                if CODES_FILE.fullmatch(file.name) and file.name not in listed:
                    file.unlink()
    return open_store(path)


def _remove_orphans(path: Path, parts: Sequence[Part]) -> None:
    """What a process left that died between moving its part in and listing it: folders of our names and files alone."""
    ours = {VECTORS, DOCUMENTS, CHUNKS}
    listed = {part.name for part in parts}
    for folder in (path / PARTS).glob("*"):
        orphan = PART_NAME.fullmatch(folder.name) and folder.name not in listed and not folder.is_symlink()
        if (
            orphan
            and folder.is_dir()
            and all(file.name in ours or CODES_FILE.fullmatch(file.name) for file in folder.iterdir())
        ):
            shutil.rmtree(folder)
