"""`ingest.json` in a store's folder: how its parts came to be and how long it took, no part of the store's content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from lvm_lab.data.appending import LOCK
from lvm_lab.errors import UserError
from lvm_lab.files import write_atomically

FILE = "ingest.json"
SCHEMA_VERSION = 1


def read_records(store: Path) -> list[dict[str, Any]]:
    """What each ingestion into the store has left, oldest first; none where the file is not there."""
    file = store / FILE
    if not file.exists():
        return []
    try:
        records = json.loads(file.read_text(encoding="utf-8"))["ingestions"]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("an ingestion that is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({error}); delete it: the store is whole without it, and only its report is lost."
        ) from error
    return records


def write_record(store: Path, record: dict[str, Any]) -> None:
    """Put a record in the place of the one with its settings, or behind the others."""
    # Another process may add its own: one looks at what the last ingestion made while the next one appends.
    with FileLock(store / LOCK):
        records = [one for one in read_records(store) if one.get("settings") != record["settings"]]
        whole = {"schema_version": SCHEMA_VERSION, "ingestions": [*records, record]}
        write_atomically(store / FILE, json.dumps(whole, indent=2, allow_nan=False))


def finished(store: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The record of an ingestion with these settings, where the store has it."""
    return next((record for record in read_records(store) if record.get("settings") == settings), None)
