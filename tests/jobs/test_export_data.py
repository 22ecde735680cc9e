"""`lvm-lab export-data`: what is written of a store is what an import makes of it again."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.documents import make_documents
from lvm_lab import export_data as command
from lvm_lab import files
from lvm_lab.data import exporting
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.exporting import BANKS, LAYOUTS
from lvm_lab.data.importers.npz import import_npz
from lvm_lab.data.store import Documents, Store, write_store
from lvm_lab.errors import UserError
from lvm_lab.jobs.export_data import export

L, D = 3, 8
Stretches = list[tuple[str, np.ndarray, list[str]]]


def unit(rows: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def made(folder: Path, documents: Documents, *, texts: list[str] | None = None, **options: Any) -> Store:
    dtype = options.pop("dtype", np.float32)
    vectors = unit(int(documents.length.sum()), options.pop("seed", 0), dtype)
    return write_store(folder / "store", vectors, documents, EncoderContract(), texts=texts, **options)


def stretches(store: Store) -> Stretches:
    table, texts = store.documents, store.texts()
    return [
        (name, np.array(store.vectors_ND[first : first + length]), (texts or [""] * 10**4)[first : first + length])
        for name, first, length in zip(table.id, table.start, table.length, strict=True)
    ]


def assert_same(mine: Stretches, theirs: Stretches, *, names: bool = True) -> None:
    assert len(mine) == len(theirs)
    for (name, vectors, texts), (other, others, their_texts) in zip(mine, theirs, strict=True):
        assert name == other or not names
        assert vectors.dtype == others.dtype
        np.testing.assert_array_equal(vectors, others)
        assert texts == their_texts


@st.composite
def stores(draw: st.DrawFn) -> dict[str, Any]:
    """Documents with ids of any kind, gaps, texts or none; at least one has a window, most have several."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6)) + draw(
        st.lists(st.integers(L + 3, 12), min_size=7, max_size=9)
    )
    words = st.text(st.characters(exclude_characters="\0\x1f", exclude_categories=["Cs"]), min_size=1, max_size=5)
    # A store takes no control characters in an id (tests/data/test_store_parts.py).
    names = st.text(
        st.characters(exclude_characters="\x7f", exclude_categories=["Cs"], min_codepoint=32), min_size=1, max_size=5
    )
    kinds = {
        "numbers": st.just([str(3 * i + 1) for i in range(len(lengths))]),
        "numbers out of order": st.permutations([str(i) for i in range(len(lengths))]),
        "words": st.lists(names, min_size=len(lengths), max_size=len(lengths), unique=True),
    }
    ids = list(draw(kinds[draw(st.sampled_from(sorted(kinds)))]))
    if draw(st.booleans()):
        # A document of which something is missing in the middle.
        ids[1] = ids[0]
    texts = None
    if draw(st.booleans()):
        texts = draw(st.lists(words, min_size=sum(lengths), max_size=sum(lengths)))
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    return {"lengths": lengths, "ids": ids, "texts": texts, "dtype": dtype, "seed": draw(st.integers(0, 2**32 - 1))}


@settings(max_examples=25, deadline=None)
@given(world=stores(), layout=st.sampled_from(sorted(LAYOUTS)), block=st.sampled_from([64, 8 << 20]))
@pytest.mark.slow
def test_an_import_gives_back_what_was_exported(world: dict[str, Any], layout: str, block: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "BLOCK_BYTES", block)
        folder = Path(name)
        documents = make_documents(world.pop("lengths"), world.pop("ids"))
        store = made(folder, documents, **world)
        length = None if layout in BANKS else L
        with_texts = world["texts"] is not None
        export(folder / "store", folder / "out.npz", layout, context_length=length, texts=with_texts)
        again = import_npz(folder / "out.npz", folder / "cache", context_length=L)
        assert not again.isolated
        assert again.documents_known
        if layout in BANKS:
            assert_same(stretches(again), in_banks(stretches(store)))
        else:
            kept = in_windows(stretches(store), with_texts)
            order = by_part(store, kept) if layout == "split" else kept
            ordered = {n: i for i, n in enumerate(dict.fromkeys(name for name, *_ in order))}
            mine, theirs = stretches(again), sorted(kept, key=lambda stretch: ordered[stretch[0]])
            if numbered(store):
                theirs = kept
            if layout == "long_context":
                mine, theirs = by_content(mine), by_content(theirs)
            assert_same(mine, theirs, names=layout != "long_context")


def in_banks(of_store: Stretches) -> Stretches:
    """A bank says nothing of what is missing: the stretches of a document are one."""
    by_name = defaultdict(list)
    for name, vectors, texts in of_store:
        by_name[name].append((vectors, texts))
    return [
        (name, np.concatenate([v for v, _ in found]), [text for _, texts in found for text in texts])
        for name, found in by_name.items()
    ]


def in_windows(of_store: Stretches, with_texts: bool) -> Stretches:
    """Windows hold stretches that are longer than a context, and the texts of targets."""
    return [
        (name, vectors, [""] * L + texts[L:] if with_texts else texts)
        for name, vectors, texts in of_store
        if len(vectors) > L
    ]


def by_part(store: Store, kept: Stretches) -> Stretches:
    names = dict(zip(store.documents.id, store.documents.names(), strict=True))
    order = {part: i for i, part in enumerate(exporting.PARTS)}
    return sorted(kept, key=lambda stretch: order[exporting.part_of(names[stretch[0]])])


def numbered(store: Store) -> bool:
    return exporting.Export(store, L, False).ids.dtype.kind == "i"


def by_content(of_store: Stretches) -> Stretches:
    return sorted(of_store, key=lambda stretch: stretch[1].tobytes())


def written(folder: Path, layout: str, *flags: str) -> dict[str, np.ndarray]:
    assert command.main([str(folder / "store"), str(folder / "out.npz"), f"layout={layout}", *flags]) == 0
    with np.load(folder / "out.npz", allow_pickle=False) as arrays:
        return dict(arrays)


EXPECTED = {
    "article_bank": {"vectors", "article_indices", "chunk_indices", "concept_texts"},
    "ordered_bank": {"vectors", "batch_ids", "seq_in_article", "concept_texts"},
    "sequences": {"contexts", "targets", "article_ids", "target_indices", "target_texts"},
    "doc_ids": {"context_sequences", "target_vectors", "doc_ids", "target_texts"},
    "long_context": {"context_sequences", "target_vectors", "target_indices", "target_texts"},
    "split": {
        f"{part}_{name}"
        for part in ("train", "val", "test")
        for name in ("contexts", "targets", "masks", "article_ids", "target_indices", "target_texts")
    },
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_arrays_are_those_of_the_layout(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = [7] * 30
    store = made(tmp_path, make_documents(lengths), texts=[f"chunk {i}" for i in range(210)])
    arrays = written(tmp_path, layout, "--texts", *([] if layout in BANKS else ["--context-length", "3"]))
    assert set(arrays) == EXPECTED[layout]
    out = capsys.readouterr().out
    assert "of 30 documents" in out
    assert "not in it: titles; sources" in out
    vectors_ND = np.array(store.vectors_ND)
    if layout == "ordered_bank":
        np.testing.assert_array_equal(arrays["seq_in_article"], np.tile(np.arange(1, 8), 30))
    if layout == "long_context":
        rows = arrays["target_indices"]
        np.testing.assert_array_equal(arrays["target_vectors"], vectors_ND[rows])
        np.testing.assert_array_equal(arrays["context_sequences"], vectors_ND[rows[:, None] + np.arange(-3, 0)])
    if layout == "split":
        parts = [set(arrays[f"{part}_article_ids"].tolist()) for part in ("train", "val", "test")]
        assert sum(map(len, parts)) == 30
        assert set.union(*parts) == {f"d{i}" for i in range(30)}
        assert all(arrays[f"{part}_masks"].all() for part in ("train", "val", "test"))


def test_what_a_layout_cannot_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = make_documents([7, 9, 2, 8], ids=["a", "a", "b", "c"], source="npz")
    made(tmp_path, documents, texts=["x"] * 26)
    written(tmp_path, "article_bank")
    assert (
        "not in it: titles; texts (--texts writes them); 1 places where chunks are missing" in capsys.readouterr().out
    )
    written(tmp_path, "sequences", "--force", "--texts")
    out = capsys.readouterr().out
    assert "texts of the first 5 chunks of a document; 1 stretches no longer than a context" in out


def test_equal_ids_of_two_sources_stay_two_documents(tmp_path: Path) -> None:
    both = make_documents([7, 6], ids=["1", "1"])
    made(tmp_path, Documents(both.id, both.title, ["wiki", "news"], both.start, both.length))
    assert sorted(set(written(tmp_path, "article_bank")["article_indices"].tolist())) == ["news/1", "wiki/1"]


def test_isolated_windows_are_no_bank(tmp_path: Path) -> None:
    made(tmp_path, make_documents([4, 4], ids=["a", "a"]), isolated=True, reason="they were apart")
    with pytest.raises(UserError, match=r"isolated windows.*take layout=sequences"):
        export(tmp_path / "store", tmp_path / "out.npz", "article_bank")
    made_of = export(tmp_path / "store", tmp_path / "out.npz", "doc_ids", context_length=3)
    assert "that its windows are isolated" in made_of.losses


REFUSED: list[tuple[str, list[str], str]] = [
    (
        "an unknown layout",
        ["store", "out.npz", "layout=sequnces"],
        r"is no layout \(did you mean sequences\?\)",
    ),
    ("another setting", ["store", "out.npz", "npz"], "npz is no layout; take layout= one of article_bank"),
    ("no store", ["nowhere", "out.npz", "layout=sequences"], "nowhere is no store's folder"),
    ("a file", ["taken.npz", "out.npz", "layout=sequences"], "taken.npz is no store's folder"),
    ("a name that is taken", ["store", "taken.npz", "layout=sequences"], "exists already.*--force"),
    ("no .npz", ["store", "out.npy", "layout=sequences"], "out.npy does not fit; name a file .npz"),
    ("within the store", ["store", "store/out.npz", "layout=sequences"], "lies in the store itself"),
    ("within it by a link", ["store", "link/out.npz", "layout=sequences", "--force"], "lies in the store itself"),
    ("a folder", ["store", "folder.npz", "layout=sequences", "--force"], "is no file and cannot be written"),
    ("no texts", ["store", "out.npz", "layout=sequences", "--texts"], "has no texts; leave --texts out"),
    (
        "a long context",
        ["store", "out.npz", "layout=long_context"],
        "the context of 100 .*--context-length",
    ),
    ("no context", ["store", "out.npz", "layout=doc_ids", "--context-length", "0"], "leaves no context"),
    ("a bank's context", ["store", "out.npz", "layout=article_bank", "--context-length", "5"], "is for windows"),
]


@pytest.mark.parametrize(("arguments", "sentence"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_mistakes_are_told_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    made(tmp_path, make_documents([7, 9]))
    monkeypatch.chdir(tmp_path)
    Path("taken.npz").write_text("dear")
    Path("folder.npz").mkdir()
    Path("link").symlink_to("store")
    before = sorted(str(file) for file in tmp_path.rglob("*"))
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(sentence, error), error
    assert sorted(str(file) for file in tmp_path.rglob("*")) == before
    assert Path("taken.npz").read_text() == "dear"


def test_a_full_disk_leaves_nothing_and_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path, make_documents([7, 9]))
    (tmp_path / "out.npz").write_text("dear")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.StreamedArrays, "append", refuse)
    arguments = [str(tmp_path / "store"), str(tmp_path / "out.npz"), "layout=sequences", "--force"]
    assert command.main(arguments) == 2
    assert "No space left on device; name another OUT.npz, or make room there." in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.npz", "store"]
    assert (tmp_path / "out.npz").read_text() == "dear"
