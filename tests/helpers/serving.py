"""A server in a thread of this process, and a run on a small store of texts for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.commands import MODEL, PATIENCE, call
from helpers.documents import make_documents
from lvm_lab.commands import composing
from lvm_lab.config.serving import ServeSettings
from lvm_lab.data.contract import PROBES
from lvm_lab.data.store import write_store
from lvm_lab.text.encoders.hashing import Hashing

DIM, DOCUMENTS, CHUNKS = 64, 40, 8
ENCODER = Hashing(dim=DIM)
PEOPLE = ("miller", "sailor", "baker", "smith")
TEXTS = [
    f"In chapter {chunk} of book {book} the {PEOPLE[book % 4]} counts to {chunk * book}."
    for book in range(DOCUMENTS)
    for chunk in range(CHUNKS)
]
TRAINING = (*MODEL, "trainer.max_epochs=1", "trainer.batch_size=64", "5cat=off", "data=npz")
ON_TEXTS = ("encoder=hashing", f"encoder.dim={DIM}", "chunker=sentences", "chunker.length=60", "decoder=retrieval")


def train(folder: Path, run: str, *settings: str) -> Path:
    """A run on the store `books`, which is made where it is not there."""
    if not (folder / "books").exists():
        contract = ENCODER.contract().with_probes(ENCODER.encode(PROBES))
        write_store(
            folder / "books", ENCODER.encode(TEXTS), make_documents([CHUNKS] * DOCUMENTS), contract, texts=TEXTS
        )
    places = (f"data.path={folder}/books", f"run.cache={folder}/cache", f"run.dir={folder}/{run}")
    done = call(folder, *TRAINING, *places, *settings)
    assert done.code == 0, done.err
    return folder / run


def settings(*words: str) -> ServeSettings:
    return ServeSettings.from_dict(composing.compose("serve", ["device=cpu", "port=0", *words]))


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """The address of a server with these settings."""
    from lvm_lab.jobs.serving import application
    from lvm_lab.serving.server import bound, server

    own = settings(*words)
    ingestion = composing.compose("ingest", ["reader=jsonl", "checks=false"]) if own.ingest else None

    def option(name: str) -> dict[str, object]:
        return composing.compose("serve", [f"encoder={name}"])["encoder"]

    listener = bound(own.host, own.port)
    running = server(application(own, option, ingestion), own)
    thread = threading.Thread(target=running.run, args=([listener],))
    thread.start()
    ends = time.monotonic() + PATIENCE
    while not running.started:
        assert thread.is_alive(), "it ended before it began"
        assert time.monotonic() < ends, "it did not start in time"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


def promote(registry: Path, name: str, run: Path, version: str) -> None:
    """As `lvm-lab promote` leaves it: a version, and a link that is put in the place of the one before."""
    versions = registry / name / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions / version).symlink_to(run)
    link = registry / name / f".{version}"
    link.symlink_to(Path("versions", version))
    os.replace(link, registry / name / "production")
