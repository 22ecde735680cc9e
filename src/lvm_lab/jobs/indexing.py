"""The body of `index`: an index over a store, made and measured, or shown where it is there already.

Shape suffixes: N rows of the store, Q queries, D vector dim.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from lvm_lab.config import targets
from lvm_lab.config.index import IndexSettings
from lvm_lab.config.settings import cache_folder, nameless
from lvm_lab.data import index as indices
from lvm_lab.data import recall
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.index import IndexManifest
from lvm_lab.data.index_kind import Kind
from lvm_lab.data.joined import join_stores
from lvm_lab.data.recall import Queries
from lvm_lab.data.split import position
from lvm_lab.data.store import Store
from lvm_lab.errors import UserError

log = logging.getLogger(__name__)

ROOM = "data.indices"
# One whose queries settle how hard a search looks, one that is measured.
FEWEST_HELD_OUT = 2


@dataclass(frozen=True)
class Cut:
    """Rows of a store by what they are for: learned from, used to choose the effort, measured."""

    learn_N: np.ndarray
    choose_N: np.ndarray
    measure_N: np.ndarray
    held_out: int


def index(settings: IndexSettings) -> IndexManifest:
    """Make the index, or take the one that is there of the same store and settings.

    Raises UserError, before anything long, for a place that holds something else.
    """
    node = nameless(settings.index)
    kind: Kind = targets.make(node, ROOM, "index", allow=targets.named(node))
    cache = cache_folder(settings.cache)
    store = join_stores([open_source(path, cache, context_length=None) for path in settings.store], setting="store")
    given = {name: value for name, value in node.items() if name != targets.TARGET}
    asked = {"given": given, "recall": settings.recall, "held_out": settings.held_out, "seed": settings.seed}
    if (there := _there(settings, store, asked, cache)) is not None:
        return there
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(settings.threads or threads)
    try:
        return _made(settings, kind, store, asked, cache)
    finally:
        faiss.omp_set_num_threads(threads)


def _there(settings: IndexSettings, store: Store, asked: dict[str, Any], cache: Path) -> IndexManifest | None:
    """The manifest of the same index, where one was made."""
    path = settings.folder
    if not (path / indices.MANIFEST).is_file():
        indices.check_free(path)
        return None
    if indices.read_index_manifest(path).store != store.content:
        raise UserError(
            f"{path} is an index of another store, or of this one before it grew; name another out=FOLDER, or move it "
            "away."
        )
    manifest = indices.open_index(path, store.vectors_ND, store.content, cache=cache).manifest
    if (manifest.kind, manifest.figures.get("asked")) != (settings.index["name"], asked):
        raise UserError(
            f"{path} is an index with other settings ({manifest.kind}); name another out=FOLDER, or move it away."
        )
    log.info("%s is there already", path)
    return manifest


def _made(settings: IndexSettings, kind: Kind, store: Store, asked: dict[str, Any], cache: Path) -> IndexManifest:
    cut = _cut(store, settings.held_out)
    draws = np.random.default_rng(settings.seed)
    size = kind.sample_size(len(store.vectors_ND), store.dim)
    sample_N = np.sort(draws.choice(cut.learn_N, min(size, len(cut.learn_N)), replace=False))
    made, seconds = _filled(kind, store, sample_N, settings)

    choose, *measured = (_queries(store, rows_N, settings.queries, draws) for rows_N in (cut.choose_N, cut.measure_N))
    chunks, means = measured[0]
    truths = recall.exact(store.vectors_ND, [choose[0], chunks, means])
    recall.tune(kind, made, store.vectors_ND, truths[0], settings.recall)
    of = {}
    for name, truth in zip(("chunks", "means"), truths[1:], strict=True):
        rows_QK = recall.found_by(made, store.vectors_ND, truth.queries, kind.rerank)
        of[name] = {str(k): share for k, share in truth.recall(rows_QK, store.vectors_ND).items()}
    figures = {
        "asked": asked,
        "trained_on": len(sample_N),
        "held_out": {"documents": cut.held_out, "vectors": len(cut.choose_N) + len(cut.measure_N)},
        "queries": len(chunks.unit_QD),
        "recall": of,
        "queries_a_second": {
            "index": recall.rates(made, store.vectors_ND, chunks.unit_QD, kind.rerank),
            "flat": recall.flat_rates(store.vectors_ND, chunks.unit_QD),
        },
        "threads": faiss.omp_get_max_threads(),
        "seconds": seconds,
    }
    fields = vars(kind) | kind.settings(made)
    indices.write_index(
        settings.folder,
        made,
        store=store.content,
        name=", ".join(settings.store),
        rows=len(store.vectors_ND),
        dim=store.dim,
        encoder=store.contract.recorded(),
        kind=settings.index["name"],
        settings=fields,
        rerank=kind.rerank,
        figures=figures,
    )
    # Read as it will be, so that what was written is known to open.
    return indices.open_index(settings.folder, store.vectors_ND, store.content, cache=cache).manifest


def _filled(kind: Kind, store: Store, sample_N: np.ndarray, settings: IndexSettings) -> tuple[Any, dict[str, float]]:
    """The index with every row of the store, and the seconds that training and adding took."""
    total = len(store.vectors_ND)
    log.info("%s over %d vectors of %d dims", settings.index["name"], total, store.dim)
    began = time.perf_counter()
    made = kind.make(total, store.dim, indices.unit(store.vectors_ND[sample_N]), settings.seed)
    trained = time.perf_counter()
    for first, unit_ND in indices.blocks(store.vectors_ND):
        made.add(unit_ND)
        log.info("%d of %d vectors are in it", first + len(unit_ND), total)
    return made, {"train": trained - began, "add": time.perf_counter() - trained}


def _cut(store: Store, share: float) -> Cut:
    """Documents by the hash of their names: the last share of them is held out, every second of it to choose by.

    Raises UserError for a store of too few documents.
    """
    number_S, places = store.documents.numbers(), [position(name) for name in store.documents.names()]
    documents = int(number_S.max()) + 1
    held_out = max(FEWEST_HELD_OUT, round(share * documents))
    if documents <= held_out:
        raise UserError(
            f"{store.name} has {documents} documents, and {held_out} are held out to measure the index; index "
            f"a store of {held_out + 1} or more, or set a smaller held_out."
        )
    place_D = np.zeros(documents)
    place_D[number_S] = places
    rank_D = np.argsort(np.argsort(place_D, kind="stable"), kind="stable")
    document_N = store.documents.by_row(len(store.vectors_ND))
    rank_N = np.where(document_N >= 0, rank_D[document_N], 0)
    last_N = rank_N >= documents - held_out
    return Cut(
        np.flatnonzero(~last_N),
        np.flatnonzero(last_N & (rank_N % 2 == 0)),
        np.flatnonzero(last_N & (rank_N % 2 == 1)),
        held_out,
    )


def _queries(store: Store, rows_N: np.ndarray, count: int, draws: np.random.Generator) -> tuple[Queries, Queries]:
    """Single chunks and means of some, of the same rows."""
    rows_Q = np.sort(draws.choice(rows_N, min(count, len(rows_N)), replace=False))
    start_Q = _starts(store)[rows_Q]
    return Queries.chunks(store.vectors_ND, rows_Q), Queries.means(store.vectors_ND, rows_Q, start_Q)


def _starts(store: Store) -> np.ndarray:
    """For each row where its unbroken stretch begins."""
    start_N = np.arange(len(store.vectors_ND))
    for start, length in zip(store.documents.start.tolist(), store.documents.length.tolist(), strict=True):
        start_N[start : start + length] = start
    return start_N
