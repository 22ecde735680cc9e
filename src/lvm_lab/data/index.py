"""An index over a store's vectors: a folder of its own, with FAISS's file and a manifest that says whose it is.

Shape suffixes: B vectors that are looked for, K rows that are nearest, N rows of the store, D vector dim.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from lvm_lab.config import binding
from lvm_lab.data.contract import EncoderContract, read_contract
from lvm_lab.data.digests import remembered
from lvm_lab.data.rows import Rows
from lvm_lab.errors import UserError
from lvm_lab.files import sha256, to_disk, write_atomically

SCHEMA_VERSION = 1
FILE, MANIFEST = "index.faiss", "manifest.json"
# Rows that are held as unit vectors at once.
BLOCK = 65_536
# Where the index holds fewer rows than were asked for.
NOTHING = -1


@dataclass(frozen=True)
class IndexManifest:
    """What an index's folder says of it.

    store: the digest of the content that it is over. name: what the store was called. encoder: its contract. settings:
    of the kind, with what null stood for. figures: what was measured (`lvm_lab.data.recall.Figures`).
    """

    store: str
    name: str
    rows: int
    dim: int
    encoder: dict[str, Any]
    kind: str
    settings: dict[str, Any]
    rerank: int
    faiss: str
    size: int
    sha256: str
    figures: dict[str, Any]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class StoreIndex:
    """An open index. faiss: FAISS's, mapped from its file. vectors_ND: the store's, which rows are numbers of."""

    path: Path
    manifest: IndexManifest
    faiss: Any
    vectors_ND: Rows

    def search(self, vectors_BD: np.ndarray, k: int, among: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """scores_BK, rows_BK: the cosines of the k nearest rows of the store, best first, and which rows they are.

        Vectors of any length. among: rows that may be found; None: all. Where fewer are there, or the kind looks at
        fewer, rows are -1 and scores -inf. Raises UserError for vectors of other dims and for `among` with hnsw.
        """
        if vectors_BD.ndim != 2 or vectors_BD.shape[1] != self.manifest.dim:
            raise UserError(
                f"{self.path} is over vectors of {self.manifest.dim} dims, and these have shape {vectors_BD.shape}; "
                "search with vectors of its encoder."
            )
        if among is None:
            return self._search(vectors_BD, k)
        if isinstance(self.faiss, faiss.IndexHNSW):
            raise UserError(
                f"{self.path} is a graph, which does not reach some rows alone; make an index of another kind "
                "(index=ivf, pq or flat)."
            )
        # FAISS's stubs do not know what its classes take.
        library: Any = faiss
        selector = library.IDSelectorBatch(np.asarray(among, dtype=np.int64))
        if not isinstance(self.faiss, faiss.IndexIVF):
            return self._search(vectors_BD, k, library.SearchParameters(sel=selector))
        scores_BK, rows_BK = self._search(
            vectors_BD, k, library.SearchParametersIVF(sel=selector, nprobe=self.faiss.nprobe)
        )
        # The lists that are nearest may hold too few of these rows.
        short_B = (rows_BK == NOTHING).any(axis=1)
        if short_B.any():
            every = library.SearchParametersIVF(sel=selector, nprobe=self.faiss.nlist)
            scores_BK[short_B], rows_BK[short_B] = self._search(vectors_BD[short_B], k, every)
        return scores_BK, rows_BK

    def _search(self, vectors_BD: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
        return search(self.faiss, self.vectors_ND, vectors_BD, k, self.manifest.rerank, params)


def search(
    index: Any, vectors_ND: Rows, vectors_BD: np.ndarray, k: int, rerank: int = 0, params: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `StoreIndex.search`. rerank: as of `lvm_lab.data.index_kind.Kind`; params: FAISS's, of the search."""
    unit_BD = unit(vectors_BD)
    scores_BK, rows_BK = index.search(unit_BD, min(k * max(rerank, 1), len(vectors_ND)), params=params)
    if rerank:
        some_BKD = unit(vectors_ND[np.maximum(rows_BK, 0)])
        scores_BK = np.einsum("bd,bkd->bk", unit_BD, some_BKD)
    scores_BK = np.where(rows_BK == NOTHING, -np.inf, scores_BK).astype(np.float32)
    if rerank:
        order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
        scores_BK, rows_BK = (np.take_along_axis(x_BK, order_BK, 1) for x_BK in (scores_BK, rows_BK))
    missing = max(0, k - rows_BK.shape[1])
    scores_BK = np.pad(scores_BK[:, :k], ((0, 0), (0, missing)), constant_values=-np.inf)
    return scores_BK, np.pad(rows_BK[:, :k], ((0, 0), (0, missing)), constant_values=NOTHING)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Unit length along the last axis, in float32, as FAISS takes it."""
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.ascontiguousarray(vectors / np.where(length > 0, length, 1))


def blocks(vectors_ND: Rows) -> Iterator[tuple[int, np.ndarray]]:
    """Every row as unit vectors, so many at once, each block with its first row."""
    for first in range(0, len(vectors_ND), BLOCK):
        yield first, unit(vectors_ND[first : first + BLOCK])


def write_index(path: Path, index: Any, **manifest: Any) -> None:
    """Write an index's folder whole or not at all. manifest: of `IndexManifest`, but for what is of the file.

    Raises UserError for a path that is taken.
    """
    check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        # Made by itself, so that it has the rights that a user's new folders have.
        folder = building / "index"
        folder.mkdir()
        file = folder / FILE
        faiss.write_index(index, str(file))
        to_disk(file)
        whole = IndexManifest(faiss=faiss.__version__, size=file.stat().st_size, sha256=sha256(file), **manifest)
        write_atomically(folder / MANIFEST, json.dumps(asdict(whole), indent=2))
        check_free(path)
        os.rename(folder, path)
        to_disk(path.parent)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def check_free(path: Path) -> None:
    """UserError where something stands at a path already."""
    if os.path.lexists(path):
        raise UserError(f"{path} exists already; name another out=FOLDER, or move it away.")


def read_index_manifest(path: Path) -> IndexManifest:
    """What an index's folder says. Raises UserError for a folder that is none."""
    file = path / MANIFEST
    try:
        if not file.is_file():
            raise ValueError(f"it has no {MANIFEST}")
        node = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(node, dict) or node.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"its manifest is not of schema {SCHEMA_VERSION}")
        manifest: IndexManifest = binding.dataclass_from(IndexManifest, node, "index")
        read_contract(manifest.encoder, "encoder")
    except (OSError, ValueError, UserError) as error:
        raise unreadable(path, error) from error
    return manifest


def open_index(
    path: Path,
    vectors_ND: Rows,
    content: str,
    contract: EncoderContract | None = None,
    *,
    cache: Path | None = None,
) -> StoreIndex:
    """Open the index of a store; nothing of it is read but what a search asks for.

    vectors_ND, content: of the store. contract: of who will search, where that is not the store itself. cache: as in
    `lvm_lab.data.digests.remembered`; without one every byte is compared with the manifest's sha256.
    Raises UserError for an index of another store or encoder, and for one that is damaged.
    """
    manifest = read_index_manifest(path)
    if manifest.store != content or manifest.rows != len(vectors_ND):
        raise UserError(
            f"{path} is an index of another store ({manifest.name}, {manifest.rows} vectors); make one of this store "
            "with lvm-lab index."
        )
    conflict = contract and contract.conflict(read_contract(manifest.encoder, "encoder"))
    if conflict:
        raise UserError(
            f"{path} is over vectors of another encoder ({conflict}); search with vectors of its own encoder."
        )
    file = path / FILE
    try:
        if not file.is_file() or file.stat().st_size != manifest.size:
            raise ValueError(f"{FILE} has not the {manifest.size} bytes of its manifest")
        if remembered(file, cache, "index", partial(sha256, file)) != manifest.sha256:
            raise ValueError(f"{FILE} does not match the sha256 in its manifest")
        # Maps every kind from its file; IO_FLAG_MMAP maps lists alone, so that flat and hnsw would be read whole.
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        if (index.ntotal, index.d) != (manifest.rows, manifest.dim):
            raise ValueError(f"{FILE} holds {index.ntotal} vectors of {index.d} dims")
    except (OSError, ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return StoreIndex(path, manifest, index, vectors_ND)


def unreadable(path: Path, reason: object) -> UserError:
    words = " ".join(str(reason).split()).rstrip(".")[:300]
    return UserError(f"{path} is no readable index ({words}); make it again with lvm-lab index, under another name.")
