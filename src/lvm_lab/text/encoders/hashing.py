"""`encoder=hashing`: no model, words and their letters hashed to dims, for tests and a first look.

Feature hashing with signs (Weinberger et al. 2009, arXiv:0902.2206): texts that share words and parts of words are
near each other, and nothing of what they mean is known.

Shape suffixes: N texts, D vector dim.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lvm_lab.data.contract import EncoderContract
from lvm_lab.errors import UserError
from lvm_lab.text.encoder import Encoder

NAME, LIBRARY = "hashing", "lvm_lab"
# Another number: the same text has another vector.
VERSION = 1
# Words, and what stands between them other than blanks.
WORD = re.compile(r"\w+|[^\w\s]+")
GRAMS = (3, 4, 5)
# A whole word counts as much as so many of its parts.
WORD_WEIGHT = 3.0
FEWEST_DIMS, MOST_DIMS = 8, 65_536


class Hashing(Encoder):
    """dim: of the vectors, which are of unit length."""

    def __init__(self, dim: int = 512) -> None:
        if dim < FEWEST_DIMS:
            raise UserError(f"encoder.dim={dim} is too few to tell texts apart; set {FEWEST_DIMS} or more.")
        if dim > MOST_DIMS:
            raise UserError(f"encoder.dim={dim} is more than any model reads; set {MOST_DIMS} or fewer.")
        self.dim = dim

    @classmethod
    def settings(cls, contract: EncoderContract) -> dict[str, Any] | None:
        return {"dim": contract.dim} if (contract.encoder, contract.library) == (NAME, LIBRARY) else None

    @property
    def limit(self) -> None:
        return None

    def contract(self) -> EncoderContract:
        return EncoderContract(
            encoder=NAME,
            pooling="sum",
            dense=False,
            normalised=True,
            dim=self.dim,
            library=LIBRARY,
            revision=str(VERSION),
        )

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([len(WORD.findall(text)) for text in texts], dtype=np.int64)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors_ND = np.zeros((len(texts), self.dim), dtype=np.float64)
        for text, vector_D in zip(texts, vectors_ND, strict=True):
            words = [_features(word) for word in WORD.findall(text.lower())]
            if words:
                hashes, weights = (np.concatenate(parts) for parts in zip(*words, strict=True))
                vector_D += np.bincount(hashes % self.dim, weights, self.dim)
            if not vector_D.any():
                # Nothing to hash, or all of it cancelled out: no store takes a vector of zeros.
                vector_D[zlib.crc32(text.encode(errors="surrogatepass")) % self.dim] = 1
        return (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1 << 18)
def _features(word: str) -> tuple[np.ndarray, np.ndarray]:
    """(the hashes of a word and of its parts, their signed weights)."""
    hashes = np.array([zlib.crc32(part.encode(errors="surrogatepass")) for part in (f"={word}", *_parts(word))])
    weights = np.where(hashes >> 31, -1.0, 1.0)
    weights[0] *= WORD_WEIGHT
    return hashes & 0x7FFFFFFF, weights


def _parts(word: str) -> Iterator[str]:
    bounded = f" {word} "
    for length in GRAMS:
        yield from (bounded[start : start + length] for start in range(len(bounded) - length + 1))
