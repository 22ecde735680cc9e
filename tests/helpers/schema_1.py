"""A store as the first version wrote it: everything in the store's own folder."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.store import Documents


def write_schema_1(
    path: Path, vectors_ND: np.ndarray, documents: Documents, contract: EncoderContract, texts: list[str] | None = None
) -> str:
    """Returns the content that the first version gave it."""
    path.mkdir(parents=True)
    np.save(path / "vectors.npy", vectors_ND)
    columns = {name: getattr(documents, name) for name in ("id", "title", "source", "start", "length")}
    pq.write_table(pa.table(columns), path / "documents.parquet")
    if texts is not None:
        pq.write_table(pa.table({"text": texts}), path / "chunks.parquet")
    described = "".join(
        f"{source}\x1f{ident}\x1f{start}\x1f{length}\n"
        for source, ident, start, length in zip(
            documents.source, documents.id, documents.start, documents.length, strict=True
        )
    )
    hashes = {
        "vectors.npy": sha256((path / "vectors.npy").read_bytes()).hexdigest(),
        "documents": sha256(described.encode()).hexdigest(),
    }
    contract = replace(contract, dim=int(vectors_ND.shape[1]), dtype=str(vectors_ND.dtype))
    whole = {"schema_version": 1, "encoder": asdict(contract), "isolated": False, "reason": "", "sha256": hashes}
    (path / "manifest.json").write_text(json.dumps(whole))
    return sha256(f"{hashes['vectors.npy']}{hashes['documents']}".encode()).hexdigest()
