"""The article-bank layout: one row a chunk, with its article and its place there, back to documents."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lvm_lab.data import tmd
from lvm_lab.data.importers import coded
from lvm_lab.data.importers.ids import Ids, read_ids
from lvm_lab.data.importers.npz_file import NpzFile
from lvm_lab.data.importers.scratch import room
from lvm_lab.data.store import Documents
from lvm_lab.errors import UserError

VECTORS = ("vectors", "embeddings", "X")
ARTICLES = ("article_indices", "article_ids", "batch_ids", "doc_ids")
CHUNKS = ("chunk_indices", "seq_idx", "seq_in_article")
NEEDED = "an article bank needs vectors (N x D), article_indices (N) and chunk_indices (N)"


@dataclass(frozen=True)
class Material:
    """What a store is written from. `reason` says why the windows of a sequence file stay isolated, `documents_known`
    whether it is known of which documents they are, `note` what was taken out or how indices were understood, `ids`
    what the chunks are called, `codes_N` their TMD codes, `table` what those mean."""

    vectors_ND: np.ndarray
    documents: Documents
    texts: list[str] | None = None
    isolated: bool = False
    reason: str = ""
    documents_known: bool = True
    note: str = ""
    ids: list[str] | None = None
    codes_N: np.ndarray | None = None
    table: tmd.Names = field(default_factory=tmd.Names)


@dataclass(frozen=True)
class BankIndex:
    """Where a bank's rows belong: all arrays are sorted by (article, chunk).

    file_row_N: the row in the file. articles: the id of each row's article. chunk_N: its chunk index in the file.
    """

    key: str
    file_row_N: np.ndarray
    articles: Ids
    chunk_N: np.ndarray

    def __len__(self) -> int:
        return len(self.file_row_N)

    @property
    def article_N(self) -> np.ndarray:
        return self.articles.number_N


def is_bank(npz: NpzFile) -> bool:
    return all((npz.find(*VECTORS, rank=2), npz.find(*ARTICLES), npz.find(*CHUNKS)))


def index_bank(npz: NpzFile) -> BankIndex:
    """Read a bank's ids and sort its rows; the vectors stay unread."""
    key = npz.find(*VECTORS, rank=2) or npz.find(*VECTORS)
    articles, chunks = npz.find(*ARTICLES), npz.find(*CHUNKS)
    if key is None or (articles is None and chunks is not None):
        raise UserError(f"{npz.path} has {listed(npz)}, and {NEEDED}; add what is missing.")
    npz.require(key, (None, None), "N x D")
    if articles is None or chunks is None:
        missing = "chunk_indices" if articles else "article_indices (N) and chunk_indices"
        raise UserError(
            f"{npz.path} is a bank without order: it has {listed(npz)} and no {missing}, so that nothing says "
            f"which chunk follows which; add {missing} (N): the article of each chunk, and its place there."
        )
    length = npz.headers[key].shape[0]
    ids = read_ids(npz, articles, (length,), "one id for each vector")
    chunk_N = npz.indices(chunks, (length,), "one integer for each vector")
    order = np.lexsort((chunk_N, ids.number_N))
    index = BankIndex(key, order, ids.taken(order), chunk_N[order])
    article_N, chunk_N = index.article_N, index.chunk_N
    twice = (article_N[1:] == article_N[:-1]) & (chunk_N[1:] == chunk_N[:-1])
    if twice.any():
        row = int(np.argmax(twice))
        (name,) = ids.names(article_N[row : row + 1])
        raise UserError(
            f"{npz.path}: article {name} has chunk {chunk_N[row]} twice "
            f"(rows {order[row]} and {order[row + 1]}); keep one row for each (article, chunk)."
        )
    return index


def read_bank(npz: NpzFile, index: BankIndex, source: str, keep_N: np.ndarray | None = None) -> Material:
    """The documents of a bank, in the order of their ids if they are integers, else as they first come.

    keep_N: a mask over the sorted rows that holds whole articles; the others are not kept.
    """
    keep_N = np.ones(len(index), dtype=bool) if keep_N is None else keep_N
    file_row_K = index.file_row_N[keep_N]
    place_N = np.full(len(index), -1, dtype=np.int64)
    place_N[file_row_K] = np.arange(len(file_row_K))
    dtype = npz.vector_dtype(index.key)
    vectors_KD = room((len(file_row_K), npz.headers[index.key].shape[1]), dtype, npz.scratch)
    for first, block in npz.vectors(index.key, dtype):
        places = place_N[first : first + len(block)]
        vectors_KD[places[places >= 0]] = block[places >= 0]
    texts, names = npz.texts(len(index)), coded.read_ids(npz, len(index))
    codes = coded.read_codes(npz, len(index))
    ids, start, length = np.unique(index.article_N[keep_N], return_index=True, return_counts=True)
    return Material(
        vectors_KD,
        make_documents(index.articles.names(ids), start, length, source),
        texts=None if texts is None else [texts[row] for row in file_row_K.tolist()],
        note=codes.note,
        ids=None if names is None else [names[row] for row in file_row_K.tolist()],
        codes_N=None if codes.codes_N is None else codes.codes_N[file_row_K],
        table=coded.read_names(npz),
    )


def make_documents(ids: list[str], start: np.ndarray, length: np.ndarray, source: str) -> Documents:
    """A table of documents without titles, which these layouts do not have."""
    return Documents(ids, [""] * len(ids), [source] * len(ids), start.astype(np.int64), length.astype(np.int64))


def listed(npz: NpzFile) -> str:
    return ", ".join(f"{key} {header.shape}" for key, header in sorted(npz.headers.items()))
