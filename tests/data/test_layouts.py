"""Every layout of `.npz` that people have comes in as the documents that it was made of."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvm_lab import convert_npz
from lvm_lab.data.importers import scratch
from lvm_lab.data.importers.npz import import_npz
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError

L, D = 5, 16
Arrays = dict[str, Any]


def texts(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, D)).astype(np.float32) for n in lengths]


def cut(documents: list[np.ndarray], length: int = L, stride: int = 1) -> Arrays:
    """All windows in order: contexts, targets, the number of the document, the target's place, its row of all."""
    starts = np.cumsum([0, *map(len, documents)])
    rows = [(i, t) for i, x in enumerate(documents) for t in range(length, len(x), stride)]
    return {
        "contexts": np.stack([documents[i][t - length : t] for i, t in rows]),
        "targets": np.stack([documents[i][t] for i, t in rows]),
        "article": np.array([i for i, _ in rows]),
        "place": np.array([t for _, t in rows]),
        "row": np.array([starts[i] + t for i, t in rows]),
    }


def named(windows: Arrays, *, contexts: str = "contexts", targets: str = "targets", **others: str) -> Arrays:
    """The windows under a file's names, with what else it holds: `article_ids="article"`."""
    arrays = {contexts: windows["contexts"], targets: windows["targets"]}
    return arrays | {name: windows[source] for name, source in others.items()}


FIELD = {"contexts": "context_sequences", "targets": "target_vectors"}


def load(folder: Path, arrays: Arrays, length: int = L, **options: Any) -> Store:
    np.savez(folder / "in.npz", **arrays)
    return import_npz(folder / "in.npz", folder / "cache", context_length=length, **options)


def stretches(store: Store) -> list[tuple[str, bytes]]:
    table = store.documents
    return [
        (name, np.array(store.vectors_ND[start : start + length]).tobytes())
        for name, start, length in zip(table.id, table.start, table.length, strict=True)
    ]


def whole(documents: list[np.ndarray], names: list[str] | None = None) -> list[tuple[str, bytes]]:
    return [(names[i] if names else str(i), x.tobytes()) for i, x in enumerate(documents)]


def vectors_alone(pairs: list[tuple[str, bytes]]) -> list[bytes]:
    return sorted(content for _, content in pairs)


def refused(folder: Path, arrays: Arrays, sentence: str, **options: Any) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        load(folder, arrays, **options)
    assert "\n" not in str(raised.value)
    assert not (folder / "cache").exists()
    assert [file.name for file in folder.iterdir()] == ["in.npz"]


DOCUMENTS = texts([9, 7, 12])
WINDOWS = cut(DOCUMENTS)
NAMES = np.array(["wiki/z", "wiki/ä", "wiki/b"])


# --- ids that are texts ---------------------------------------------------------------------------


@pytest.mark.parametrize("articles", ["article_indices", "article_ids", "batch_ids", "doc_ids"])
def test_a_bank_whose_articles_are_texts_keeps_the_order_in_which_they_come(tmp_path: Path, articles: str) -> None:
    lengths = [len(x) for x in DOCUMENTS]
    bank = {
        "vectors": np.concatenate(DOCUMENTS),
        articles: np.repeat(NAMES, lengths),
        "chunk_indices": np.concatenate([np.arange(n) * 3 + 1 for n in lengths]),
        "tmd_codes": np.zeros(sum(lengths), np.int32),
    }
    store = load(tmp_path, bank)
    assert stretches(store) == whole(DOCUMENTS, NAMES.tolist())


@pytest.mark.parametrize("meaning", ["place", "row"])
def test_windows_whose_articles_are_texts_are_joined_to_their_bank(tmp_path: Path, meaning: str) -> None:
    lengths = [len(x) for x in DOCUMENTS]
    bank = {
        "vectors": np.concatenate(DOCUMENTS),
        "article_ids": np.repeat(NAMES, lengths),
        "chunk_indices": np.concatenate([np.arange(n) for n in lengths]),
    }
    np.savez(tmp_path / "bank.npz", **bank)
    arrays = named(WINDOWS, target_indices=meaning) | {"article_ids": NAMES[WINDOWS["article"]]}
    last = {key: values[WINDOWS["article"] > 0] for key, values in arrays.items()}
    store = load(tmp_path, last, bank_path=tmp_path / "bank.npz")
    assert stretches(store) == whole(DOCUMENTS, NAMES.tolist())[1:]


# --- what target_indices mean ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "meaning"),
    [
        (WINDOWS["place"], "the chunk's place in its document"),
        (WINDOWS["place"] + 1, "the chunk's place in its document"),
        (WINDOWS["row"], "the row of one bank"),
        (WINDOWS["place"] * 3 + 1, "the chunk's number in its document, with gaps"),
    ],
)
def test_target_indices_are_settled_by_the_vectors_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, indices: np.ndarray, meaning: str
) -> None:
    caplog.set_level(logging.INFO)
    order = np.random.default_rng(0).permutation(len(indices))
    arrays = named(WINDOWS, article_ids="article") | {"target_indices": indices}
    store = load(tmp_path, {key: values[order] for key, values in arrays.items()})
    assert stretches(store) == whole(DOCUMENTS)
    assert f"{tmp_path / 'in.npz'}: target_indices are {meaning}" in [r.getMessage() for r in caplog.records]


def test_target_indices_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    wrong = {"target_indices": np.random.default_rng(1).permutation(len(WINDOWS["place"])) + L}
    for ids in ({"article_ids": "article"}, {}):
        refused(tmp_path, named(WINDOWS, **ids) | wrong, "target_indices fit nothing.*save the file without them")


def test_long_contexts_know_the_row_of_their_target_in_all_documents(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    documents = texts([140, 130, 150, 121])
    arrays = named(cut(documents, 100, stride=7), **FIELD, target_indices="row")
    store = load(tmp_path, arrays, 100)
    seen = [x[: 101 + (len(x) - 101) // 7 * 7] for x in documents]
    # Rows of two documents stand side by side in a bank: no window goes over their edge.
    assert vectors_alone(stretches(store)) == vectors_alone(whole(seen))
    assert len(set(store.documents.id)) == 4
    assert not store.isolated
    assert any("target_indices are the row of one bank" in record.getMessage() for record in caplog.records)


def test_places_without_articles_are_glued_by_what_windows_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = load(tmp_path, named(WINDOWS, **FIELD, target_indices="place"))
    assert vectors_alone(stretches(store)) == vectors_alone(whole(DOCUMENTS))
    assert any("the chunk's place in its document" in record.getMessage() for record in caplog.records)


def test_contexts_and_targets_of_two_precisions_are_one_text(tmp_path: Path) -> None:
    arrays = named(WINDOWS, article_ids="article", target_indices="place")
    store = load(tmp_path, arrays | {"contexts": arrays["contexts"].astype(np.float16)})
    assert stretches(store) == whole([x.astype(np.float16) for x in DOCUMENTS])


# --- documents by doc_ids, order by row -----------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("ids", [NAMES, np.arange(3)])
def test_doc_ids_name_documents_and_rows_their_order(tmp_path: Path, ids: np.ndarray, stride: int) -> None:
    windows = cut(DOCUMENTS, stride=stride)
    arrays = named(windows, **FIELD) | {"doc_ids": ids[windows["article"]]}
    store = load(tmp_path, arrays)
    seen = [x[: L + 1 + (len(x) - L - 1) // stride * stride] for x in DOCUMENTS]
    assert stretches(store) == whole(seen, [str(i) for i in ids])
    assert not store.isolated


def test_documents_whose_rows_are_mixed_are_put_in_order_by_what_windows_share(tmp_path: Path) -> None:
    documents = texts([30, 24, 28])
    # A chunk that all share makes them no one document.
    for document in documents:
        document[9] = documents[0][9]
    windows = cut(documents)
    order = np.random.default_rng(0).permutation(len(windows["article"]))
    arrays = named({key: values[order] for key, values in windows.items()}, **FIELD, doc_ids="article")
    store = load(tmp_path, arrays)
    assert sorted(stretches(store)) == sorted(whole(documents))


# --- files that bring a split ---------------------------------------------------------------------


def parts(prefixes: list[str], **names: str) -> Arrays:
    """The windows dealt out to parts at random, as files do that leak."""
    part = np.random.default_rng(2).integers(len(prefixes), size=len(WINDOWS["place"]))
    arrays = named(WINDOWS, **names)
    return {prefix + key: values[part == i] for i, prefix in enumerate(prefixes) for key, values in arrays.items()}


@pytest.mark.parametrize("prefixes", [["", "val_"], ["train_", "val_"], ["train_", "val_", "test_"]])
def test_documents_are_put_together_over_all_parts_of_a_file_and_it_is_said(
    tmp_path: Path, prefixes: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        store = load(tmp_path, parts(prefixes, **FIELD))
        assert vectors_alone(stretches(store)) == vectors_alone(whole(DOCUMENTS))
        (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
        assert "it has parts of its own" in record.getMessage()
        assert "cut into parts anew, by document" in record.getMessage()


def test_parts_with_ids_and_texts_keep_them(tmp_path: Path) -> None:
    words = {"text": np.array([f"{a}:{t}" for a, t in zip(WINDOWS["article"], WINDOWS["place"], strict=True)])}
    part = np.arange(len(WINDOWS["place"])) % 2
    arrays = named(WINDOWS | words, article_ids="article", target_indices="place", target_texts="text")
    store = load(
        tmp_path, {p + key: v[part == i] for i, p in enumerate(["train_", "val_"]) for key, v in arrays.items()}
    )
    assert stretches(store) == whole(DOCUMENTS)
    assert store.texts() == [f"{i}:{t}" if t >= L else "" for i, x in enumerate(DOCUMENTS) for t in range(len(x))]


@pytest.mark.parametrize("places", [(), (L,), (L + 1,)])
@pytest.mark.parametrize("dtype", [np.int8, np.bool_, np.float32])
def test_what_a_mask_takes_out_is_neither_read_nor_looked_at(
    tmp_path: Path, places: tuple[int, ...], dtype: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    arrays = named(WINDOWS, article_ids="article", target_indices="place")
    padding = {
        "contexts": np.zeros((2, L, D), np.float32),
        "targets": np.full((2, D), np.nan, np.float32),
        "article_ids": np.zeros(2, int),
        "target_indices": np.full(2, 3),
    }
    padded = {f"train_{key}": np.concatenate([padding[key][:1], arrays[key], padding[key][1:]]) for key in arrays}
    mask = np.ones((len(padded["train_targets"]), *places), dtype)
    mask[(0, -1), ...] = 0
    if places:
        # A window is valid where all of its places are.
        mask[-1, ..., 1:] = 1
    store = load(tmp_path, padded | {"train_masks": mask})
    assert stretches(store) == whole(DOCUMENTS)
    assert any("2 of 15 windows are masked out" in record.getMessage() for record in caplog.records)


def test_a_flaw_behind_masked_windows_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    arrays = named(WINDOWS) | {"masks": (np.arange(len(WINDOWS["place"])) > 3).astype(int)}
    arrays["targets"] = arrays["targets"].copy()
    arrays["targets"][7] = np.nan
    refused(tmp_path, arrays, r"targets\[7\] holds NaN")


# --- damage: one sentence, nothing left -----------------------------------------------------------


def without(arrays: Arrays, *keys: str) -> Arrays:
    return {key: values for key, values in arrays.items() if key not in keys}


BANK = {"vectors": DOCUMENTS[0], "article_ids": np.repeat(["a"], 9), "chunk_indices": np.arange(9)}
SPLIT = parts(["train_", "val_"], article_ids="article", target_indices="place")
MASKS = {key.replace("targets", "masks"): np.ones(len(v), int) for key, v in SPLIT.items() if key.endswith("targets")}
BAD: list[tuple[str, Arrays, str]] = [
    ("a bank without order", without(BANK, "article_ids", "chunk_indices"), "bank without order.*add article_indices"),
    ("an empty id", BANK | {"article_ids": np.array(["a", ""] + ["a"] * 7)}, r"article_ids\[1\] is empty"),
    ("NaN ids", BANK | {"article_ids": np.full(9, np.nan)}, "article_ids holds float64 where integers are needed"),
    ("bytes as ids", BANK | {"article_ids": np.array([b"a"] * 9)}, "article_ids holds .S1 where integers are needed"),
    ("object ids", BANK | {"article_ids": np.array(["a"] * 9, object)}, "article_ids is a pickled object array"),
    ("too few ids", BANK | {"article_ids": BANK["article_ids"][1:]}, "does not fit the other arrays"),
    ("ids of two dimensions", BANK | {"article_ids": np.array([["a"]] * 9)}, "one id for each vector is needed"),
    ("negative doc_ids", named(WINDOWS) | {"doc_ids": np.full(13, -1)}, "doc_ids holds -1, which is no index"),
    ("negative places", SPLIT | {"val_target_indices": -SPLIT["val_target_indices"]}, "val_target_indices holds -"),
    ("other dims", SPLIT | {"val_contexts": SPLIT["val_contexts"][..., 1:]}, r"val_contexts .* need \(any, 5, 16\)"),
    ("other lengths", SPLIT | {"val_contexts": SPLIT["val_contexts"][:, 1:]}, r"val_contexts .* need \(any, 5, 16\)"),
    ("other dims of targets", SPLIT | {"val_targets": SPLIT["val_targets"][:, 1:]}, "val_targets has shape"),
    ("no val targets", without(SPLIT, "val_targets"), "has val_contexts without val_targets"),
    ("no train targets", without(SPLIT, "train_targets"), "has train_contexts without train_targets"),
    (
        "ids of one part",
        without(SPLIT, "val_article_ids"),
        "train_article_ids and nothing of the kind for val_",
    ),
    ("an empty part", SPLIT | {k: v[:0] for k, v in SPLIT.items() if k.startswith("val_")}, "val_contexts is empty"),
    ("a short part", SPLIT | {"val_targets": SPLIT["val_targets"][1:]}, "val_targets has shape"),
    ("masks of nothing", SPLIT | {key: 0 * v for key, v in MASKS.items()}, "its masks leave no window"),
    ("masks that are too few", SPLIT | {"val_masks": MASKS["val_masks"][1:]}, "val_masks has shape"),
    ("masks of other places", SPLIT | {"val_masks": np.ones((len(MASKS["val_masks"]), 3))}, "val_masks has shape"),
    ("masks of 2", SPLIT | {"val_masks": 2 * MASKS["val_masks"]}, "val_masks holds 2 .*1 is valid and 0 is not"),
    ("masks of NaN", SPLIT | {"val_masks": np.nan * MASKS["val_masks"]}, "val_masks holds nan"),
    ("masks of texts", SPLIT | {"val_masks": MASKS["val_masks"].astype(str)}, "val_masks holds <U21"),
    ("pickled masks", SPLIT | {"val_masks": MASKS["val_masks"].astype(object)}, "val_masks is a pickled object array"),
    ("pickled doc_ids", named(WINDOWS) | {"doc_ids": np.array(["a"] * 13, object)}, "doc_ids is a pickled"),
    ("few texts", named(WINDOWS) | {"target_texts": np.array(["a"] * 3)}, "3 texts stand beside 13 rows"),
]


@pytest.mark.parametrize(("arrays", "sentence"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_damage_is_refused_in_a_sentence(tmp_path: Path, arrays: Arrays, sentence: str) -> None:
    refused(tmp_path, arrays, sentence)


def test_characters_that_are_none_are_refused(tmp_path: Path) -> None:
    garbage = np.full(9, 0x7FFFFFFF, np.uint32).view("<U1")
    refused(tmp_path, BANK | {"article_ids": garbage}, "article_ids holds what is no text")
    refused(tmp_path, BANK | {"concept_texts": garbage}, "concept_texts holds what is no text")


# --- large files ----------------------------------------------------------------------------------


def test_vectors_of_a_large_file_lie_on_disk_and_leave_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 64)
    made: list[np.ndarray] = []
    room = scratch.room

    def watched(*arguments: Any) -> np.ndarray:
        made.append(room(*arguments))
        return made[-1]

    for place in ("article_bank", "placing"):
        monkeypatch.setattr(f"lvm_lab.data.importers.{place}.room", watched)
    shuffled = named(WINDOWS, article_ids="article", target_indices="place")
    assert stretches(load(tmp_path, shuffled)) == whole(DOCUMENTS)
    assert stretches(load(tmp_path, BANK)) == whole(DOCUMENTS[:1], ["a"])
    assert len(made) == 2
    assert all(isinstance(array, np.memmap) for array in made)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cache", "in.npz"]


# --- what is pickled ------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("key", ["article_index", "article_id", "doc_id"])
def test_the_converter_reads_ids_and_places_of_metadata_in_every_part(tmp_path: Path, key: str, one: bool) -> None:
    part = np.arange(len(WINDOWS["place"])) % 2
    arrays: Arrays = {}
    for i, prefix in enumerate(["", "val_"]):
        rows = np.flatnonzero(part == i)
        ids, places = NAMES[WINDOWS["article"][rows]].tolist(), WINDOWS["place"][rows].tolist()
        each = [{key: a, "target_chunk_index": t} for a, t in zip(ids, places, strict=True)]
        arrays[f"{prefix}metadata"] = np.array([{key: ids, "target_chunk_index": places}] if one else each, object)
        arrays[f"{prefix}context_sequences"] = WINDOWS["contexts"][rows]
        arrays[f"{prefix}target_vectors"] = WINDOWS["targets"][rows]
        arrays[f"{prefix}target_texts"] = np.array([f"{a}:{t}" for a, t in zip(ids, places, strict=True)], object)
    np.savez(tmp_path / "in.npz", **arrays)
    assert convert_npz.main([str(tmp_path / "in.npz"), str(tmp_path / "out"), "--trust-pickle"]) == 0
    store = open_store(tmp_path / "out")
    assert sorted(stretches(store)) == sorted(whole(DOCUMENTS, NAMES.tolist()))
    said = dict(zip(NAMES.tolist(), DOCUMENTS, strict=True))
    assert sorted(store.texts() or []) == sorted(
        f"{name}:{t}" if t >= L else "" for name, x in said.items() for t in range(len(x))
    )


def test_the_converter_reads_pickled_texts_as_ids(tmp_path: Path) -> None:
    arrays = named(WINDOWS, **FIELD) | {"doc_ids": NAMES[WINDOWS["article"]].astype(object)}
    np.savez(tmp_path / "in.npz", **arrays)
    assert convert_npz.main([str(tmp_path / "in.npz"), str(tmp_path / "out"), "--trust-pickle"]) == 0
    assert stretches(open_store(tmp_path / "out")) == whole(DOCUMENTS, NAMES.tolist())
