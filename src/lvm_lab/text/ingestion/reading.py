"""Documents as an ingestion takes them from a reader: in order, every so-manieth, each once, with the time it took."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeVar

from lvm_lab.data.documents import check_names, name_of
from lvm_lab.errors import UserError
from lvm_lab.text.document import Document
from lvm_lab.text.reader import Reader

Result = TypeVar("Result")
# What Python, the system and the lab say of a failure in words of their own.
TOLD = (UserError, OSError, MemoryError)


@dataclass(frozen=True)
class Read:
    """A document, its place among all that the reader gives, and the seconds that reading took since the last one."""

    document: Document
    position: int
    seconds: float


def read(
    reader: Reader,
    first: int = 0,
    shard: int = 0,
    shards: int = 1,
    present: Collection[str] = frozenset(),
    out: str = "",
) -> Iterator[Read]:
    """The documents of a shard, from the one at place `first` on.

    present: documents of the store at `out` that is added to, by `name_of`. Raises UserError for an id that comes twice
    or is there already, or has control characters, and for what a reader of somebody's own raises.
    """
    once: set[bytes] = set()
    documents = iter(call(reader.documents, "the reader"))
    position, since = 0, time.perf_counter()
    while (document := call(lambda: next(documents, None), "the reader", f"at document {position}")) is not None:
        check_names((document.id, document.source), "the reader")
        name = name_of(document.source, document.id)
        digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
        if digest in once:
            raise UserError(f"{told(document)} comes twice; give each document of a source an id of its own.")
        once.add(digest)
        if name in present:
            raise UserError(f"{told(document)} is in {out} already; leave it out, or call its source by another name.")
        if position >= first and position % shards == shard:
            yield Read(document, position, time.perf_counter() - since)
            since = time.perf_counter()
        position += 1


def told(document: Document) -> str:
    """What messages call a document."""
    return f"document {document.id!r} of source {document.source!r}"


def call(body: Callable[[], Result], who: str, where: str = "") -> Result:
    """What `body`, which may be somebody's own part, returns; UserError for what it raises."""
    try:
        return body()
    except TOLD:
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        place = f" {where}" if where else ""
        raise UserError(
            f"{who} failed{place} ({what}); mend it and give the same command again, which goes on there."
        ) from error
