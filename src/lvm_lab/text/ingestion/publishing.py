"""The blocks of all shards to the parts of a store, and the store's folder last of all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.documents import Documents
from lvm_lab.data.manifest import read_manifest
from lvm_lab.data.part_files import Part, PartWriter
from lvm_lab.errors import UserError
from lvm_lab.text.ingestion.block_file import Block
from lvm_lab.text.ingestion.record import write_record
from lvm_lab.text.ingestion.staging import Shard, Staging
from lvm_lab.text.ingestion.tally import Tally


def publish(staging: Staging, shards: int, contract: EncoderContract, record: dict, limit: int | None) -> dict:
    """Make the store, or add its parts to the one that is there; returns the record with what was counted.

    The caller holds the staging folder, and all shards are done. A new store gets its name when it is whole.
    """
    building = staging.folder / "store"
    shutil.rmtree(building, ignore_errors=True)
    tally, origins = Tally(), []
    parts: list[tuple[Path, Part]] = []
    for number in range(shards):
        shard = staging.shard(number)
        done = shard.done()
        assert done is not None, f"shard {number} is not done"
        since = time.perf_counter()
        part = _part(shard, building / f"shard-{number}", contract, record["settings"]["dtype"], tally)
        tally.end(done, time.perf_counter() - since)
        origins += [origin for origin in done.origins if origin not in origins]
        if part is not None:
            parts.append((building / f"shard-{number}", part))
    if not parts:
        left_out = ", ".join(f"{count} {reason}" for reason, count in tally.to_dict(limit)["left_out"].items())
        raise UserError(
            f"no document has a chunk ({left_out or 'none was read'}); bring other texts, or another chunker."
        )
    met = set(tally.documents)
    record = record | tally.to_dict(limit) | {"origins": [origin for origin in origins if origin["source"] in met]}
    record |= {"parts": sorted(part.name for _, part in parts)}
    _assemble(staging.out, building / "whole", parts, contract, record)
    return record


def _assemble(
    out: Path, whole: Path, parts: Sequence[tuple[Path, Part]], contract: EncoderContract, record: dict
) -> None:
    is_new = not (out / "manifest.json").exists()
    store = whole if is_new else out
    # A process that died here may have added some of them.
    there = set() if is_new else {part.content for part in read_manifest(out).parts}
    for folder, part in parts:
        if part.content not in there:
            add_part(store, folder, part, contract, origins=record["origins"])
    write_record(store, record)
    if is_new:
        os.rename(whole, out)


def _part(shard: Shard, folder: Path, contract: EncoderContract, dtype: str, tally: Tally) -> Part | None:
    """The part of a shard, streamed; None where it has no chunk."""
    writer: PartWriter | None = None
    # A part has a column for all of its rows, or for none.
    coherent = any(block.coherent for block in shard.blocks(vectors=False))
    for block in shard.blocks():
        tally.add(block)
        if not len(block.vectors_ND):
            continue
        writer = writer or PartWriter(folder, contract.dim, np.dtype(dtype))
        texts = [text for entry in block.entries for text in entry.texts]
        writer.append(block.vectors_ND, _documents(block), texts, _coherence(block) if coherent else None)
    return None if writer is None else writer.close()


def _documents(block: Block) -> Documents:
    """A row a stretch; their rows count from the block's first."""
    stretches = [(entry, length) for entry in block.entries for length in entry.lengths]
    length_S = np.array([length for _, length in stretches], dtype=np.int64)
    return Documents(
        [entry.id for entry, _ in stretches],
        [entry.title for entry, _ in stretches],
        [entry.source for entry, _ in stretches],
        np.cumsum(length_S) - length_S,
        length_S,
    )


def _coherence(block: Block) -> list[float]:
    """Of each stretch; NaN where the chunker measured none, as in documents that were chunked already."""
    return [c for entry in block.entries for c in (entry.coherence or [float("nan")] * len(entry.lengths))]
