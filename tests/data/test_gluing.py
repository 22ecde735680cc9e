"""Sequence files that name no documents: glued where windows overlap, split by what they share where they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.commands import call
from lvm_lab.config.data import DataSettings
from lvm_lab.data.importers.npz import import_npz
from lvm_lab.data.parts import Parts, cut_parts
from lvm_lab.data.source import Opened
from lvm_lab.data.store import Store

L, D = 5, 16


def texts(count: int, seed: int = 0, length: int = 14) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((count, length + 1, D))
    return list((steps[:, 1:] + steps[:, :-1]).astype(np.float32))


def windows(documents: list[np.ndarray], stride: int = 1, keep: float = 1.0) -> dict[str, np.ndarray]:
    """Contexts and targets alone, shuffled."""
    rng = np.random.default_rng(3)
    whole = [x[i : i + L + 1] for x in documents for i in range(0, len(x) - L, stride) if rng.random() < keep]
    stacked = np.stack(whole)[rng.permutation(len(whole))]
    return {"contexts": stacked[:, :L], "targets": stacked[:, L]}


def load(folder: Path, arrays: dict[str, Any]) -> Store:
    np.savez(folder / "windows.npz", **arrays)
    return import_npz(folder / "windows.npz", folder / "cache", context_length=L)


def cut(store: Store, folder: Path) -> Parts:
    opened = Opened(store, {"store": store.content})
    return cut_parts(opened, DataSettings(), folder / "cache", every_position=False)


def of(store: Store) -> list[bytes]:
    table = store.documents
    return sorted(
        np.array(store.vectors_ND[start : start + length]).tobytes()
        for start, length in zip(table.start, table.length, strict=True)
    )


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_overlapping_windows_give_their_documents_back(tmp_path: Path, stride: int) -> None:
    documents = texts(20)
    store = load(tmp_path, windows(documents, stride))
    ends = [len(range(0, len(x) - L, stride)) for x in documents]
    assert of(store) == sorted(x[: (n - 1) * stride + L + 1].tobytes() for x, n in zip(documents, ends, strict=True))
    assert not store.isolated
    assert store.documents_known
    assert store.reason == ""


def test_a_chunk_that_documents_share_makes_them_no_one_document(tmp_path: Path) -> None:
    documents = texts(20)
    for document in documents:
        document[7] = documents[0][7]
    store = load(tmp_path, windows(documents))
    assert of(store) == sorted(x.tobytes() for x in documents)
    assert len(set(store.documents.id)) == 20


def test_passages_that_go_on_in_two_ways_are_one_document(tmp_path: Path) -> None:
    documents = texts(20)
    documents[1][4:10] = documents[0][4:10]
    store = load(tmp_path, windows(documents))
    assert not store.isolated
    assert len(set(store.documents.id)) == 19


def test_a_document_keeps_its_name_whatever_stands_beside_it(tmp_path: Path) -> None:
    documents = texts(20)
    names = []
    for count in (10, 20):
        (tmp_path / str(count)).mkdir()
        store = load(tmp_path / str(count), windows(documents[:count]))
        rows = np.array(store.vectors_ND[store.documents.start])
        names.append({row.tobytes(): name for row, name in zip(rows, store.documents.id, strict=True)})
    assert names[0].items() <= names[1].items()


def test_windows_at_no_one_distance_are_split_by_what_they_share(tmp_path: Path) -> None:
    documents = texts(80)
    store = load(tmp_path, windows(documents, keep=0.4))
    assert store.isolated
    assert not store.documents_known
    parts = cut(store, tmp_path)
    chunks = [
        {row.tobytes() for row in part.vectors(part.target_row_W[:, None] + np.arange(-L, 1)).reshape(-1, D)}
        for part in (parts.train, parts.val, parts.test)
    ]
    assert not chunks[0] & chunks[1] | chunks[0] & chunks[2] | chunks[1] & chunks[2]
    # Windows that overlap are no repeats.
    assert sum(map(len, (parts.train, parts.val, parts.test))) == len(store.documents)


def test_it_is_said_every_time(tmp_path: Path) -> None:
    arrays = windows(texts(80), keep=0.4)
    for _ in range(2):
        (note,) = cut(load(tmp_path, arrays), tmp_path).notes
        assert "names no documents" in note
        assert "no intervals are given and the verdict is undecided" in note


def test_texts_follow_their_targets(tmp_path: Path) -> None:
    documents = texts(8)
    arrays = windows(documents)
    numbers = {row.tobytes(): f"text {i}" for i, row in enumerate(np.concatenate(documents))}
    named = [numbers[row.tobytes()] for row in arrays["targets"]]
    store = load(tmp_path, arrays | {"target_texts": np.array(named)})
    for row, text in zip(np.array(store.vectors_ND), store.texts(), strict=True):
        assert text in ("", numbers[row.tobytes()])
    assert sum(text != "" for text in store.texts()) == len(named)


def test_a_run_on_unknown_documents_gives_no_interval_and_no_verdict(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **windows(texts(200), keep=0.4))
    np.savez(tmp_path / "ood.npz", **windows(texts(60, seed=1)))
    done = call(
        tmp_path,
        *("data=npz", "data.path=in.npz", "data.ood_path=ood.npz", "arch=gru", "arch.width=16", "trainer.max_epochs=1"),
        *("5cat=smoke", "5cat.resamples=20", "device=cpu", "device.threads=1", "logger=none", "run.cache=cache"),
        "run.dir=run",
    )
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["five_cat"]["verdict"] == "undecided"
    assert "of which documents the windows of val are is not known" in result["five_cat"]["reason"]
    assert result["val"]["cos"]["value"] is not None
    assert result["val"]["cos"]["interval"] is None
    assert result["ood"]["cos"]["interval"] is not None
    assert any("names no documents" in note for note in result["notes"])
