"""Which part a document belongs to: decided by a hash of its (source, id), so that adding documents moves none."""

from __future__ import annotations

import hashlib

from lvm_lab.config.data import FOLDS

PARTS = ("train", "val", "test")


def position(key: str) -> float:
    """A document's place in [0, 1): a hash of its key (`Documents.keys`), equal on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def part_of(key: str, fold: int | None = None) -> str:
    """The part of one document: 70/15/15, or with a fold 60/20/20 so that five folds test every document once."""
    place = position(key)
    if fold is None:
        return "train" if place < 0.70 else "val" if place < 0.85 else "test"
    band = int(place * FOLDS)
    return "test" if band == fold else "val" if band == (fold + 1) % FOLDS else "train"
