"""Parts of a store, made up, and appended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.documents import make_documents
from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.part_files import Part, PartWriter
from lvm_lab.data.store import Store

DIM, L = 6, 3
CONTRACT = EncoderContract(encoder="random", pooling="mean")


def vectors(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float16)


def write_part(
    folder: Path, lengths: Sequence[int], ids: Sequence[str], seed: int = 0, texts: bool = True, **of: object
) -> Part:
    rows_ND = vectors(sum(lengths), seed)
    words = [f"{seed}: {i}" for i in range(sum(lengths))] if texts else None
    with PartWriter(folder, DIM, of.get("dtype", np.float16)) as writer:
        writer.append(rows_ND, make_documents(lengths, ids), words)
        return writer.close()


def append(path: Path, folder: Path, *args: object, contract: EncoderContract = CONTRACT, **of: object) -> Store:
    return add_part(path, folder, write_part(folder, *args, **of), contract)  # type: ignore[arg-type]
