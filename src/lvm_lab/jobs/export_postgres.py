"""The body of `export-data into=postgres`: a store's chunks as rows of a table in the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvm_lab.data.manifest import FILE as MANIFEST
from lvm_lab.data.postgres.catalogue import describe
from lvm_lab.data.postgres.chunks import NEEDED, Chunks
from lvm_lab.data.postgres.columns import TABLE, Columns
from lvm_lab.data.postgres.connection import check_settings, connect, telling
from lvm_lab.data.postgres.target import Target, own_ids
from lvm_lab.data.postgres.writing import Writing, Written, present
from lvm_lab.data.store import open_store
from lvm_lab.errors import UserError

WAY_OUT = "nothing was written; mend that and give the command again."


@dataclass(frozen=True)
class Settings:
    """table: where rows go, made where it is not there. columns: what its columns are called. replace: the source whose
    rows are taken out as the store's of that source come in."""

    table: str = TABLE
    columns: Columns = field(default_factory=Columns)
    replace: str | None = None


def export(
    path: Path, settings: Settings, agree: Callable[[str], bool], advance: Callable[[int, int], None]
) -> Written:
    """Write a store's folder to a table. agree: whether a replacement may be, asked with its count.

    advance: gets rows that were copied, and all there are. The table has all of the rows or none of them.

    Raises UserError, with nothing changed, for a table that lacks columns or has rows of the sources already, a
    replacement that nobody agrees to, and a database that refuses or goes away.
    """
    named = settings.columns.named()
    check_settings({**named, "table": settings.table, "replace": settings.replace, "the store's path": path})
    if not (path / MANIFEST).is_file():
        raise UserError(f"{path} is no store's folder; give the folder that holds a manifest.json.")
    chunks = Chunks(open_store(path, verify=True), settings.replace)
    connection = connect()
    try:
        with telling(f"look at {settings.table}", WAY_OUT):
            target = _target(connection, settings, chunks)
            there = {} if target.new else present(connection, target, chunks.written_sources)
        replaced = _agreed(settings, there, chunks, agree)
        since = time.perf_counter()
        writing = Writing(connection, chunks, target, replaced)
        kept = writing.copy(lambda rows: advance(rows, len(chunks.row_K)))
        writing.move()
        seconds = time.perf_counter() - since
    finally:
        connection.close()
    losses = _losses(target, chunks)
    rows, documents = len(chunks.row_K), len(chunks.documents)
    return Written(rows, documents, chunks.written_sources, kept, replaced or 0, seconds, losses)


def _target(connection: Any, settings: Settings, chunks: Chunks) -> Target:
    if lacking := [use for use in NEEDED if use not in settings.columns.named()]:
        raise UserError(f"{lacking[0]}=null would leave out what makes rows a store; name a column.")
    table = describe(connection, settings.table)
    if table is not None:
        return Target.existing(table, settings.columns, chunks)
    oid = connection.execute("SELECT to_regtype('vector')::oid::int8").fetchone()[0]
    return Target.made(settings.table, settings.columns, chunks, oid)


def _agreed(settings: Settings, there: dict[str, int], chunks: Chunks, agree: Callable[[str], bool]) -> int | None:
    """How many rows are replaced; None where nothing is asked to be."""
    if settings.replace is None:
        if there:
            source, count = next(iter(there.items()))
            raise UserError(
                f"{settings.table} has {count:,} rows of {source} already; replace={source} puts the store's in their "
                "place."
            )
        return None
    count = there.get(settings.replace, 0)
    counts = f"{settings.table} has {count:,} rows of {settings.replace} and {len(chunks.row_K):,} take their place"
    if count and not agree(f"{counts}; go on?"):
        raise UserError(f"{counts}; nothing was changed, and yes=true replaces them.")
    return count


def _losses(target: Target, chunks: Chunks) -> list[str]:
    """What the table does not hold of the store, as phrases."""
    number_S = chunks.export.number_S
    gaps = len(number_S) - len(set(number_S.tolist()))
    id, has_codes = target.columns.get("id"), "tmd" in target.columns
    stated = {
        "ids of chunks": bool(chunks.own_ids) and not (id is not None and own_ids(id, chunks)),
        "titles": "title" in chunks.have and "title" not in target.columns,
        "texts": "text" in chunks.have and "text" not in target.columns,
        "TMD codes": "tmd" in chunks.have and not has_codes,
        "what TMD codes mean (reader.tmd_names says it to an ingestion)": has_codes and bool(chunks.store.tmd),
        "what made the vectors": chunks.store.contract.encoder is not None,
        f"{gaps:,} places where chunks are missing, which an ingestion goes over": gaps > 0,
    }
    return [phrase for phrase, holds in stated.items() if holds]
