"""The body of `ingest`: look at everything that can be refused, make the missing blocks, publish, examine.

A job of several shards does its own blocks; the one that finds all of them done publishes.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lvm_lab import __version__
from lvm_lab.config import targets
from lvm_lab.config.ingest import GROUPS, IngestSettings
from lvm_lab.config.settings import nameless
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.store import Store, open_store
from lvm_lab.data.tmd import Names
from lvm_lab.errors import UserError
from lvm_lab.jobs import coding, ingestion_estimate
from lvm_lab.text.chunker import Chunker
from lvm_lab.text.coder import Coder
from lvm_lab.text.encoder import Encoder
from lvm_lab.text.ingestion.encoding import Encoding
from lvm_lab.text.ingestion.publishing import NoChunk, publish
from lvm_lab.text.ingestion.reading import call, read
from lvm_lab.text.ingestion.record import finished, write_record
from lvm_lab.text.ingestion.staging import Staging
from lvm_lab.text.ingestion.work import Advance, Pipeline, work
from lvm_lab.text.reader import Reader

log = logging.getLogger(__name__)

# "already": an earlier command had finished it; "waiting": other shards are not done.
State = Literal["done", "already", "waiting"]


@dataclass(frozen=True)
class Parts:
    """The objects that the settings' nodes name."""

    reader: Reader
    chunker: Chunker
    encoder: Encoder

    @classmethod
    def of(cls, settings: IngestSettings) -> Parts:
        nodes = {group: nameless(getattr(settings, group)) for group in GROUPS}
        rooms = {group: f"text.{group}s" for group in GROUPS}
        return cls(**{g: targets.make(nodes[g], rooms[g], g, allow=settings.allowed) for g in GROUPS})


def ingest(settings: IngestSettings, advance: Advance) -> tuple[State, dict[str, Any]]:
    """How it stands, and the record of the ingestion (empty for a shard that waits for others).

    Raises UserError for what the user can mend.
    """
    parts, coder = Parts.of(settings), coding.coder_of(settings.tmd)
    _check_place(settings.folder)
    # Renamed into place at the end, which a link would be in the way of.
    out = settings.folder.resolve() if settings.folder.is_symlink() else settings.folder
    encoding = Encoding.of(parts.encoder, parts.reader, settings.dtype, settings.threads_used)
    contract = encoding.probed()
    since = time.perf_counter()
    # Of some readers this is most of the work.
    text_content = call(parts.reader.content, "the reader")
    opening = time.perf_counter() - since
    identity = _identity(settings, parts, encoding, text_content)
    staging = Staging(out)
    record = finished(out, identity)
    if record is not None:
        staging.drop_if_of(identity)
        return "already", _coded(out, _examined(out, record, settings), settings, coder, parts)
    missing: list[int] = []
    try:
        pipeline = Pipeline(parts.reader, parts.chunker, encoding, settings.block, opening)
        missing = _make(settings, staging, identity, pipeline, contract, advance)
    except NoChunk:
        # Its blocks are empty, and would have another chunker refused as other settings than theirs.
        staging.drop_if_of(identity)
        raise
    except UserError:
        # Another process of the same command may have made the store since, which is what is refused then, or what
        # came after it.
        if finished(out, identity) is None:
            raise
    # Also where shards were missing: who published may have left the folder to the last one that was at work in it.
    record = finished(out, identity)
    if record is None:
        return "waiting", {"missing": missing}
    staging.drop_if_of(identity)
    return "done", _coded(out, _examined(out, record, settings), settings, coder, parts)


def _make(
    settings: IngestSettings,
    staging: Staging,
    identity: dict[str, Any],
    pipeline: Pipeline,
    contract: EncoderContract,
    advance: Advance,
) -> list[int]:
    """Make the job's blocks, and the store where no other shard is missing; returns those that are."""
    table = call(pipeline.reader.tmd_table, "the reader")
    present = _present(settings, contract, table)
    if staging.shard(settings.job).done() is None:
        # A store may have the documents of shards that are done: a process may have died while it added them.
        _check_first_document(pipeline.reader, present, settings.folder)
    with staging.working(settings.job, identity, settings.restart) as shard:
        try:
            # Another process of the same command may have finished it while this one waited.
            if finished(staging.out, identity) is None:
                work(pipeline, shard, settings.job, settings.shards, advance, present, str(settings.folder))
        except BaseException:
            if settings.shards == 1 and not any(shard.folder.iterdir()):
                # There is nothing to go on from, and no other shard that could be at work.
                with staging.held():
                    staging.drop()
            raise
        # Still at work: with restart another process would throw away what is about to be published.
        with staging.held():
            if finished(staging.out, identity) is not None:
                return []
            missing = [n for n in range(settings.shards) if staging.shard(n).done() is None]
            if not missing:
                blank = {"version": __version__, "settings": identity, "checks": None}
                publish(staging, settings.shards, contract, blank, pipeline.encoding.encoder.limit, table)
            return missing


def estimate(settings: IngestSettings) -> dict[str, Any]:
    """What a dry run says; writes nothing."""
    parts = Parts.of(settings)
    if settings.out:
        _check_place(settings.folder)
    encoding = Encoding.of(parts.encoder, parts.reader, settings.dtype, settings.threads_used)
    return ingestion_estimate.estimate(parts.reader, parts.chunker, encoding, settings.shards)


def _examined(out: Path, record: dict[str, Any], settings: IngestSettings) -> dict[str, Any]:
    """The record with what the checks of the store say, which are made once."""
    if settings.checks and record.get("checks") is None:
        # It brings torch, which a shard that waits for others and an encoder without a model do without.
        from lvm_lab.jobs import corpus

        log.info("examining %s", out)
        record = record | {"checks": corpus.by_source(open_store(out))}
        write_record(out, record)
    return record


def _coded(
    out: Path, record: dict[str, Any], settings: IngestSettings, coder: Coder | None, parts: Parts
) -> dict[str, Any]:
    """The record with how TMD codes are spread, which chunks without one are given first where they are wanted."""
    if coder is not None:
        counts = coding.code_ingested(out, coder, parts.encoder, settings.tmd)
    elif call(parts.reader.tmd_table, "the reader") is not None:
        counts = coding.counts(open_store(out))
    else:
        return record
    record = record | {"tmd": counts}
    write_record(out, record)
    return record


def _check_place(out: Path) -> None:
    """UserError for a place where no store can be."""
    if out.is_symlink() and not out.exists():
        raise UserError(f"out={out} is a link to nothing; name another folder.")
    if out.exists() and not out.is_dir():
        raise UserError(f"out={out} is a file where a store's folder is needed; name another one.")
    if out.exists() and not (out / MANIFEST).exists() and any(out.iterdir()):
        raise UserError(f"out={out} is no store and not empty; name another folder.")
    # Of the place itself, where it is a link.
    above = [folder for folder in out.resolve().parents if folder.exists()]
    inside = [folder for folder in above if (folder / MANIFEST).exists()]
    if inside:
        raise UserError(f"out={out} lies inside the store {inside[0]}; name a folder outside of it.")
    if not above[0].is_dir():
        raise UserError(f"{above[0]} is a file, and no folder can be made in it; name another out.")
    if not os.access(above[0], os.W_OK | os.X_OK):
        raise UserError(f"{above[0]} cannot be written to; name an out in a folder of yours.")


def _present(settings: IngestSettings, contract: EncoderContract, table: Names | None) -> frozenset[str]:
    """The documents of the store that is added to, held against what is to come. UserError where nothing may be."""
    out = settings.folder
    if not (out / MANIFEST).exists():
        return frozenset()
    if not settings.append:
        raise UserError(f"out={out} is a store already; add to it with append=true, or name another folder.")
    store = open_store(out)
    conflict = store.contract.conflict(contract)
    if conflict is not None:
        raise UserError(f"out={out} is of another encoder ({conflict}); append with its own, or name another folder.")
    dtype = store.vectors_ND.dtype
    if dtype != settings.dtype:
        raise UserError(f"out={out} has its vectors in {dtype}; append with dtype={dtype}, or name another folder.")
    if store.isolated:
        raise UserError(f"out={out} holds isolated windows and no documents; name another folder.")
    _check_table(store, table, out)
    return frozenset(store.documents.names())


def _check_table(store: Store, table: Names | None, out: Path) -> None:
    """UserError where of TMD codes some are of names and some are not. Which names are used is seen at the end."""
    if table is None or store.tmd is None or bool(table) == bool(store.tmd):
        return
    mine, theirs = ("a" if names else "no" for names in (store.tmd, table))
    raise UserError(
        f"out={out} has its TMD codes by {mine} table of names and the reader by {theirs} table; give the reader the "
        "store's (reader.tmd_names), leave its codes out (reader.tmd=null), or name another folder."
    )


def _check_first_document(reader: Reader, present: frozenset[str], out: Path) -> None:
    if next(read(reader, present=present, out=str(out)), None) is None:
        left_out = ", ".join(f"{count} {reason}" for reason, count in reader.skipped().items())
        raise UserError(f"the reader gives no document{f' ({left_out})' if left_out else ''}; bring texts.")


def _identity(settings: IngestSettings, parts: Parts, encoding: Encoding, text_content: str) -> dict[str, Any]:
    """What the bytes of the store hang on, in plain containers: an ingestion goes on where all of it is the same."""
    identity: dict[str, Any] = {}
    for group in GROUPS:
        part, node = getattr(parts, group), getattr(settings, group)
        hidden = {*getattr(part, "places", ()), *getattr(part, "secrets", ())}
        if isinstance(node.get("model"), str) and Path(node["model"]).is_dir():
            # Its place; what lies there is named by the contract's revision.
            hidden.add("model")
        identity[group] = {key: value for key, value in node.items() if key not in hidden}
    identity["reader"]["content"] = text_content
    identity["encoder"] |= {
        "version": call(lambda: parts.encoder.version, "the encoder"),
        "contract": replace(encoding.contract, probes={}).recorded(),
    }
    identity |= {key: getattr(settings, key) for key in ("block", "dtype", "shards")}
    # As it comes back from a file.
    return json.loads(json.dumps(identity | {"threads": settings.threads_used}))
