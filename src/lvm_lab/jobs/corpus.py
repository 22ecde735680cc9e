"""A store looked at source by source: data gate, arrow of time, chunks and documents that stand in it twice.

Shape suffixes: N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lvm_lab.config.data import DataSettings
from lvm_lab.data.repeated import Chunks, repeated_of
from lvm_lab.data.split import part_of, position
from lvm_lab.data.store import Store
from lvm_lab.data.windows import Windows, index_windows
from lvm_lab.judge import data_gate

# Chunks that are compared with each other: in a larger store those of the first documents by their hash.
COMPARED = 100_000
# The share of its chunks that have to stand in other documents too for a document to be called a near duplicate.
NEARLY_ALL = 0.9


def by_source(store: Store) -> dict[str, dict[str, Any]]:
    """What the data gate (with the arrow of time between the training part and the others) and the comparison of
    chunks say of each source's documents; `reason` where the gate cannot be measured."""
    stretches_by_source: dict[str, list[int]] = {}
    for stretch, source in enumerate(store.documents.source):
        stretches_by_source.setdefault(source, []).append(stretch)
    repeated_N, compared_N = _repeated(store)
    return {
        source: _gate(store, stretches, repeated_N) | _duplicates(store, stretches, repeated_N, compared_N)
        for source, stretches in sorted(stretches_by_source.items())
    }


def _gate(store: Store, stretches: list[int], repeated_N: np.ndarray) -> dict[str, Any]:
    names, length = store.documents.names(), DataSettings().context_length
    train = [stretch for stretch in stretches if part_of(names[stretch]) == "train"]
    held_out = [stretch for stretch in stretches if part_of(names[stretch]) != "train"]
    parts = [
        index_windows(store, np.array(some, np.int64), length, excluded_N=repeated_N) for some in (train, held_out)
    ]
    for name, windows in zip(("training", "other"), parts, strict=True):
        if len(windows) == 0:
            return {"gate": None, "reason": f"its {name} documents have no window of {length + 1} chunks"}
    return {"gate": _examined(*parts), "reason": None}


def _examined(train: Windows, held_out: Windows) -> dict[str, Any]:
    gate = data_gate.examine(train, held_out)
    arrow = gate.pop("arrow")
    return gate | {"arrow": {key: arrow[key] for key in ("verdict", "easier", "reason")}}


def _repeated(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Masks over the rows: those whose chunk stands in another document too, and those that were compared."""
    documents, chunks = store.documents, Chunks.of(store)
    total = len(store.vectors_ND)
    if total <= COMPARED:
        return repeated_of(chunks), np.ones(total, dtype=bool)
    compared_N = np.zeros(total, dtype=bool)
    names = documents.names()
    left = COMPARED
    for stretch in sorted(range(len(names)), key=lambda stretch: position(names[stretch])):
        start, length = int(documents.start[stretch]), int(documents.length[stretch])
        if length > left:
            break
        compared_N[start : start + length] = True
        left -= length
    rows = np.flatnonzero(compared_N)
    text_N = None if chunks.text_N is None else chunks.text_N[rows]
    repeated_N = np.zeros(total, dtype=bool)
    repeated_N[rows] = repeated_of(Chunks(store.vectors_ND[rows], text_N, chunks.document_N[rows]))
    return repeated_N, compared_N


def _duplicates(
    store: Store, stretches: list[int], repeated_N: np.ndarray, compared_N: np.ndarray
) -> dict[str, int | float]:
    """How many chunks stand in several documents, and documents nearly all of whose chunks do."""
    rows_of: dict[str, list[np.ndarray]] = {}
    for stretch in stretches:
        start, length = int(store.documents.start[stretch]), int(store.documents.length[stretch])
        rows_of.setdefault(store.documents.id[stretch], []).append(np.arange(start, start + length))
    documents = [rows for rows in map(np.concatenate, rows_of.values()) if compared_N[rows].all()]
    compared = sum(map(len, documents))
    repeated = sum(int(repeated_N[rows].sum()) for rows in documents)
    return {
        "compared_documents": len(documents),
        "compared_chunks": compared,
        "repeated_chunks": repeated,
        "repeated_share": repeated / compared if compared else 0.0,
        "near_duplicates": sum(bool(repeated_N[rows].mean() >= NEARLY_ALL) for rows in documents),
    }
