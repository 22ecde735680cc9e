"""One part of a store on disk, written block by block: vectors, the documents they are of, their texts.

A part is a folder with `vectors.npy` (N x D, float16 or float32), `documents.parquet` (id, title, source, start,
length) and, where its chunks have any, `chunks.parquet` (text, id, coherence: one row a vector) and their TMD codes
(`tmd-HASH.npy`, N of uint16). Nothing but its codes is ever changed, which are no part of its content, by which it is
named. Its bytes hang on the rows alone: not on the blocks they came in, nor on the time.

Shape suffixes: N rows of a block, D vector dim, S stretches of a block.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from lvm_lab.data.documents import SCHEMA, Documents
from lvm_lab.data.flaws import check_vectors
from lvm_lab.data.tmd import fit
from lvm_lab.errors import UserError
from lvm_lab.files import sha256, to_disk, write_atomically

VECTORS, DOCUMENTS, CHUNKS = "vectors.npy", "documents.parquet", "chunks.parquet"
# What a manifest calls the codes of a part, whose file is named by what it holds: another process may be reading them.
CODES = "tmd.npy"
CODES_FILE = re.compile(r"tmd-[0-9a-f]{16}\.npy")
# Small enough that a few texts of a large part are read without the others, large enough to compress.
ROW_GROUP = 4096


@dataclass(frozen=True)
class Part:
    """What a manifest says of a part.

    rows: None where the manifest is of schema 1, which does not say. sha256: of the bytes of `vectors.npy`,
    `chunks.parquet` and the codes, and of what the table of documents says ("documents"), since its bytes differ
    between writers.
    threads: of the job that encoded it, on which the last digits of vectors may hang; None where none did.
    """

    name: str
    rows: int | None
    sha256: dict[str, str]
    threads: int | None = None

    @property
    def content(self) -> str:
        """Names the vectors and their documents."""
        return content_of(self.sha256)

    @property
    def files(self) -> dict[str, str]:
        """The names of its files by what `sha256` calls them."""
        own = {"documents": DOCUMENTS, CODES: codes_file(self.sha256.get(CODES, ""))}
        return {name: own.get(name, name) for name in self.sha256}


def content_of(hashes: dict[str, str]) -> str:
    return hashlib.sha256(f"{hashes[VECTORS]}{hashes['documents']}".encode()).hexdigest()


class PartWriter:
    """Writes a part to a folder of its own, which it makes; memory holds one block, and up to a row group of texts.

    Used as a context manager: `append` the blocks, then `close`; the folder of what was not closed is removed.
    dtype: float16 or float32. name: what messages call the vectors, if not by the folder.
    """

    def __init__(self, folder: Path, dim: int, dtype: Any = np.float32, *, name: str | None = None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.name = folder, name or str(folder)
        self.dim, self.dtype, self.rows = dim, np.dtype(dtype), 0
        self._vectors = (folder / VECTORS).open("wb")
        self._start_of_vectors = self._header()
        self._documents = _RowGroups(folder / DOCUMENTS, SCHEMA)
        self._described = hashlib.sha256()
        self._chunks: _RowGroups | None = None
        self._codes: list[np.ndarray] = []
        self._closed = False

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._closed:
            return
        for file in (self._vectors, self._documents, self._chunks):
            # What a full disk has no room for is of no use any more.
            with contextlib.suppress(OSError):
                if file is not None:
                    file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def append(
        self,
        vectors_ND: np.ndarray,
        documents: Documents,
        texts: Sequence[str] | None = None,
        coherence_S: Sequence[float] | None = None,
        *,
        ids: Sequence[str] | None = None,
        codes_N: np.ndarray | None = None,
    ) -> None:
        """The next rows, of whole stretches. documents: their `start` counts from the block's first row.

        texts, ids, codes_N (TMD codes): one a row; coherence_S: one a stretch. Each is given with every block, or with
        none.
        Raises UserError for vectors that no experiment may start from (`check_vectors`), and documents outside them.
        """
        check_vectors(vectors_ND, self.name, rows_before=self.rows, dtype=self.dtype)
        documents.check_names(self.name)
        if vectors_ND.shape[1] != self.dim or not documents.within(len(vectors_ND)):
            raise UserError(
                f"{self.name}: the table of documents points outside the {len(vectors_ND)} vectors, or they are not of "
                f"{self.dim} dimensions; write them again."
            )
        columns = self._columns(documents, texts, ids, coherence_S, len(vectors_ND))
        assert bool(self._codes) == (codes_N is not None) or not self.rows, "every block has codes, or none has"
        if codes_N is not None:
            assert codes_N.shape == (len(vectors_ND),), "one code a row"
            assert fit(codes_N), "codes of the layout"
            self._codes.append(codes_N.astype(np.uint16))
        with self._naming_the_place():
            self._vectors.write(np.ascontiguousarray(vectors_ND, self.dtype).data)
            self._documents.append(documents.table(self.rows))
            self._append_chunks(columns)
        self._described.update(documents.described(self.rows))
        self.rows += len(vectors_ND)

    @contextlib.contextmanager
    def _naming_the_place(self) -> Iterator[None]:
        """A full disk says neither what was written nor where."""
        try:
            yield
        except OSError as error:
            what = f"its vectors and texts could not be written whole ({error.strerror or error})"
            raise OSError(error.errno or errno.ENOSPC, what, str(self.folder)) from error

    @staticmethod
    def _columns(
        documents: Documents,
        texts: Sequence[str] | None,
        ids: Sequence[str] | None,
        coherence_S: Sequence[float] | None,
        rows: int,
    ) -> dict[str, Any]:
        given = {name: values for name, values in (("text", texts), ("id", ids)) if values is not None}
        assert all(len(values) == rows for values in given.values()), "one a row"
        columns: dict[str, Any] = {name: pa.array(values, pa.string()) for name, values in given.items()}
        if coherence_S is not None:
            columns["coherence"] = pa.array(_by_row(documents, coherence_S, rows), pa.float32())
        return columns

    def close(self) -> Part:
        """The part, whole and on the disk. Raises UserError for one without documents."""
        if not self._documents.rows:
            raise UserError(f"{self.name} holds no documents; give it some.")
        with self._naming_the_place():
            self._vectors.seek(0)
            assert self._header() == self._start_of_vectors, "NumPy leaves room for any number of rows"
            for file in (self._vectors, self._documents, self._chunks):
                if file is not None:
                    file.close()
            hashes = {VECTORS: sha256(self.folder / VECTORS), "documents": self._described.hexdigest()}
            if self._chunks is not None:
                hashes[CHUNKS] = sha256(self.folder / CHUNKS)
            if self._codes:
                hashes[CODES] = write_codes(self.folder, np.concatenate(self._codes))
            for place in (*self.folder.iterdir(), self.folder):
                to_disk(place)
        self._closed = True
        return Part(content_of(hashes)[:16], self.rows, hashes)

    def _header(self) -> int:
        shape = (self.rows, self.dim)
        header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._vectors, header)
        return self._vectors.tell()

    def _append_chunks(self, columns: dict[str, Any]) -> None:
        if self._chunks is None and columns and not self.rows:
            schema = pa.schema([(name, column.type) for name, column in columns.items()])
            self._chunks = _RowGroups(self.folder / CHUNKS, schema)
        assert list(columns) == (self._chunks.schema.names if self._chunks else []), "every block has the same columns"
        if self._chunks is not None:
            self._chunks.append(pa.table(columns))


def codes_file(digest: str) -> str:
    return f"tmd-{digest[:16]}.npy"


def write_codes(folder: Path, codes_N: np.ndarray) -> str:
    """Write the codes of a part into its folder, beside those that are there, and return their sha256."""
    file = io.BytesIO()
    np.save(file, codes_N.astype(np.uint16), allow_pickle=False)
    digest = hashlib.sha256(file.getbuffer()).hexdigest()
    write_atomically(folder / codes_file(digest), file.getvalue())
    return digest


class _RowGroups:
    """A Parquet file whose row groups have one length, however its rows come."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.schema, self.rows = schema, 0
        self._held: list[pa.Table] = []
        self._written = 0
        # All that could change the bytes from one call to the next is fixed.
        self._writer = pq.ParquetWriter(file, schema, compression="zstd", compression_level=3, version="2.6")

    def append(self, table: pa.Table) -> None:
        self.rows += len(table)
        self._held.append(table)
        if self.rows - self._written < ROW_GROUP:
            return
        whole = pa.concat_tables(self._held)
        last = len(whole) // ROW_GROUP * ROW_GROUP
        for first in range(0, last, ROW_GROUP):
            self._write(whole[first : first + ROW_GROUP])
        # A slice would hold on to all that it was cut from.
        self._held = [whole.take(np.arange(last, len(whole)))]

    def close(self) -> None:
        if self.rows > self._written:
            self._write(pa.concat_tables(self._held))
        self._writer.close()

    def _write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.combine_chunks(), row_group_size=ROW_GROUP)
        self._written += len(rows)


def _by_row(documents: Documents, values_S: Sequence[float], rows: int) -> np.ndarray:
    """A value of each stretch at each of its rows; NaN at rows that are in none."""
    value_N = np.full(rows, np.nan, dtype=np.float32)
    for value, start, length in zip(values_S, documents.start, documents.length, strict=True):
        value_N[start : start + length] = value
    return value_N
