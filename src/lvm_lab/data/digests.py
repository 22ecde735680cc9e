"""What was computed of a file, remembered for as long as nobody writes to the file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from lvm_lab.files import write_atomically

# A file may be written to again within one tick of its file system's clock, whose coarsest known is 2 s (FAT).
TICK_SECONDS = 2.0


def remembered(file: Path, cache: Path | None, what: str, compute: Callable[[], str]) -> str:
    """`compute()` of a file, from the cache where it was computed of the same state of the file.

    What is trusted is the kernel: a file with the device, inode, size and times of last time has the bytes of last
    time. The time of change (ctime), which no program can set, is among them, so that a file that was written to,
    copied over, replaced or given its old date again is read again. What this cannot see is a disk that loses bits at
    rest: without a cache every byte is read. The same trust is Git's, and the same care with files that are so young
    that another write could bear the same time.
    """
    if cache is None:
        return compute()
    place = hashlib.sha256(f"{what}\0{file.resolve()}".encode()).hexdigest()[:32]
    note = cache / "digests" / f"{place}.json"
    before = _state(file)
    kept = _read(note)
    if kept.get("state") == before and isinstance(kept.get("value"), str):
        return str(kept["value"])
    started = time.time()
    value = compute()
    if _state(file) == before and max(before[-2:]) < (started - TICK_SECONDS) * 1e9:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps({"file": str(file.resolve()), "what": what, "state": before, "value": value}))
    return value


def _state(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read(note: Path) -> dict[str, object]:
    try:
        kept = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
