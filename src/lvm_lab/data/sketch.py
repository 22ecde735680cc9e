"""What a chunk is known by, whatever file, precision or name it comes in: sign codes of vectors, digests of texts.

Shape suffixes: N rows, D vector dim, C bytes of a code, M rows of a sketch, K texts.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from lvm_lab.data.rows import Rows

# Part of every code: other projections, or another rounding of texts, are another version.
VERSION = 1
BITS = 256
# Bits in which codes of one chunk differ at most. int8 flips .6 to 1 of 256 on average, 7 at most; cos .999 flips 3.6,
# cos .99 11.5 and cos .95 26 (Charikar 2002: the angle over pi); docs/leaks.md has what this misses and takes wrongly.
RADIUS = 8
# Below, any vectors are near each other: in 8 dimensions a pair in 2e10 has cos > .999 by chance, in 4 one in 5e4.
LEAST_DIM = 8
# Codes that differ in up to TABLES - 1 bits agree in one of these slices of them. A table takes 80 bytes a row in
# FAISS, so that they are made two at a time: two slices are 5 bytes, by which a code can be turned.
TABLES, SLICE, AT_ONCE = 12, 20, 2
BLOCK = 16_384


def sign_codes(vectors_ND: Rows, rows_N: np.ndarray | None = None) -> np.ndarray:
    """256 bits a row, (N, 32) uint8: the signs of the vector's products with fixed random directions.

    rows_N: of these rows alone. The directions are read off a hash and not a generator, since they are kept in
    checkpoints and NumPy's streams may change.
    """
    rows_N = np.arange(len(vectors_ND)) if rows_N is None else rows_N
    projection_DB = _directions(vectors_ND.shape[1])
    codes_NC = np.empty((len(rows_N), BITS // 8), dtype=np.uint8)
    for first in range(0, len(rows_N), BLOCK):
        x_ND = np.asarray(vectors_ND[rows_N[first : first + BLOCK]], dtype=np.float32)
        codes_NC[first : first + len(x_ND)] = np.packbits(x_ND @ projection_DB > 0, axis=1)
    return codes_NC


def _directions(dim: int) -> np.ndarray:
    # The sum of 12 bytes is near enough to a normal number.
    drawn = hashlib.shake_256(f"sign codes {VERSION}".encode()).digest(dim * BITS * 12)
    sums_DB = np.frombuffer(drawn, dtype=np.uint8).reshape(dim, BITS, 12).sum(axis=-1, dtype=np.float32)
    return sums_DB - 12 * 255 / 2


def row_digests(vectors_ND: Rows, dtype: type | None = None) -> np.ndarray:
    """One 64-bit hash a row, in this dtype or its own; equal vectors have equal hashes, on every machine."""
    digests = np.empty(len(vectors_ND), dtype=np.int64)
    for first in range(0, len(vectors_ND), BLOCK):
        part = np.ascontiguousarray(vectors_ND[first : first + BLOCK], dtype=dtype)
        digests[first : first + len(part)] = [_digest(row.tobytes()) for row in part]
    return digests


def text_digests(texts: Sequence[str | None] | None) -> np.ndarray | None:
    """One 64-bit hash a text, whose case, spaces and forms of characters count for nothing; 0 for none."""
    if texts is None:
        return None
    plain = (" ".join(unicodedata.normalize("NFKC", text or "").casefold().split()) for text in texts)
    return np.array([_digest(text.encode()) if text else 0 for text in plain], dtype=np.int64)


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def near_codes(codes_NC: np.ndarray, others_MC: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of codes that differ in at most `radius` (< 12) bits, as places in the two, block by block; a pair
    comes up to six times."""
    assert radius < TABLES, "codes that are farther apart need not agree in any slice"
    if not len(codes_NC) or not len(others_MC):
        return
    turn = AT_ONCE * SLICE // 8
    for turned in range(0, turn * TABLES // AT_ONCE, turn):
        index = faiss.IndexBinaryMultiHash(BITS, AT_ONCE, SLICE)
        index.add(np.roll(others_MC, -turned, axis=1))
        for first in range(0, len(codes_NC), 1024):
            block = np.roll(codes_NC[first : first + 1024], -turned, axis=1)
            # FAISS counts a pair that differs in fewer bits than the radius.
            limits, _, others = index.range_search(block, radius + 1)
            counts: np.ndarray = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
            yield first + np.repeat(np.arange(len(block)), counts), others


@dataclass(frozen=True)
class Sketch:
    """What a model was trained on: its training rows' codes, and the digests of their texts where there were any.

    cut: names the data and how it was cut into parts, by part (see `lvm_lab.data.parts`): what was held out there is
    known to be held out.
    """

    dim: int
    codes_MC: np.ndarray
    digests_K: np.ndarray
    cut: dict[str, str]

    def holds(self, dim: int, codes_NC: np.ndarray, text_N: np.ndarray | None) -> np.ndarray:
        """Which rows were trained on, by the codes of their vectors of `dim` and the digests of their texts."""
        seen_N = np.zeros(len(codes_NC), dtype=bool)
        if text_N is not None and len(self.digests_K):
            seen_N |= np.isin(text_N, self.digests_K)
        if dim == self.dim:
            for near, _ in near_codes(codes_NC, self.codes_MC, RADIUS if self.dim >= LEAST_DIM else 0):
                seen_N[near] = True
        return seen_N


def sketch(vectors_ND: Rows, rows_N: np.ndarray, text_N: np.ndarray | None, cut: dict[str, str]) -> Sketch:
    """The sketch of some rows; each code and each digest once."""
    codes_MC = np.unique(sign_codes(vectors_ND, rows_N), axis=0)
    digests_K = np.empty(0, dtype=np.int64) if text_N is None else np.unique(text_N[rows_N])
    return Sketch(int(vectors_ND.shape[1]), codes_MC, digests_K[digests_K != 0], cut)
