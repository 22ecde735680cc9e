"""The blocks of all shards to the parts of a store, and the store's folder last of all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lvm_lab.data.appending import add_part
from lvm_lab.data.contract import UNIT_TOLERANCE, EncoderContract, distance_from_unit
from lvm_lab.data.documents import Documents
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.manifest import read_manifest
from lvm_lab.data.part_files import Part, PartWriter
from lvm_lab.data.tmd import Names
from lvm_lab.errors import UserError
from lvm_lab.files import to_disk
from lvm_lab.text.ingestion.block_file import Block
from lvm_lab.text.ingestion.record import write_record
from lvm_lab.text.ingestion.shard import Shard
from lvm_lab.text.ingestion.staging import Staging
from lvm_lab.text.ingestion.tally import Tally


class NoChunk(UserError):
    """No document of any shard has a chunk: there is no store to make, and nothing to go on from."""


@dataclass(frozen=True)
class _Made:
    """A part that lies in a folder of its own. unit: whether all of its vectors are of unit length."""

    folder: Path
    part: Part
    unit: bool


def publish(
    staging: Staging,
    shards: int,
    contract: EncoderContract,
    record: dict[str, Any],
    limit: int | None,
    table: Names | None = None,
) -> dict[str, Any]:
    """Make the store, or add its parts to the one that is there; returns the record with what was counted.

    The caller holds the staging folder, and all shards are done. A new store gets its name when it is whole.
    limit: the most tokens of a chunk that enter the encoder. table: what TMD codes of the chunks mean.
    Raises NoChunk where no document has one.
    """
    building = staging.folder / "store"
    shutil.rmtree(building, ignore_errors=True)
    tally, origins = Tally(), []
    parts: list[_Made] = []
    for number in range(shards):
        shard = staging.shard(number)
        done = shard.done()
        assert done is not None, f"shard {number} is not done"
        since = time.perf_counter()
        made = _part(shard, building / f"shard-{number}", contract, record["settings"]["dtype"], tally)
        tally.end(done, time.perf_counter() - since)
        origins += [origin for origin in done.origins if origin not in origins]
        parts += [made] if made else []
    if not parts:
        why = ", ".join(f"{count} {reason}" for reason, count in tally.left_out.items())
        raise NoChunk(f"no document has a chunk ({why}); bring other texts, or choose another chunker.")
    if contract.normalised is None:
        contract = replace(contract, normalised=all(made.unit for made in parts))
    record = record | tally.to_dict(limit)
    record |= {
        "origins": [origin for origin in origins if origin["source"] in tally.documents],
        "parts": sorted(made.part.name for made in parts),
    }
    _assemble(staging.out, building / "whole", parts, contract, record, table)
    return record


def _assemble(
    out: Path,
    whole: Path,
    parts: Sequence[_Made],
    contract: EncoderContract,
    record: dict[str, Any],
    table: Names | None,
) -> None:
    is_new = not (out / MANIFEST).exists()
    store = whole if is_new else out
    # A process that died here may have added some of them.
    there = set() if is_new else {part.content for part in read_manifest(out).parts}
    for made in parts:
        if made.part.content not in there:
            part = replace(made.part, threads=record["settings"]["threads"])
            add_part(store, made.folder, part, contract, origins=record["origins"], table=table)
    write_record(store, record)
    if is_new:
        os.rename(whole, out)
        to_disk(out.parent)


def _part(shard: Shard, folder: Path, contract: EncoderContract, dtype: str, tally: Tally) -> _Made | None:
    """The part of a shard, streamed; None where it has no chunk."""
    coherent = filled = coded = False
    for block in shard.blocks(vectors=False):
        tally.add(block)
        # A part has a column for all of its rows, or for none.
        coherent, filled = coherent or block.coherent, filled or bool(block.entries)
        coded = coded or block.coded
    if not filled:
        return None
    unit = True
    with PartWriter(folder, contract.dim, np.dtype(dtype)) as writer:
        for block in shard.blocks():
            if block.entries:
                texts = [text for entry in block.entries for text in entry.texts]
                coherence_S, codes_N = _coherence(block) if coherent else None, block.codes_N if coded else None
                writer.append(block.vectors_ND, _documents(block), texts, coherence_S, codes_N=codes_N)
                unit = unit and distance_from_unit(block.vectors_ND) <= UNIT_TOLERANCE
        return _Made(folder, writer.close(), unit)


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
