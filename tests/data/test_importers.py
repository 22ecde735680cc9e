"""The `.npz` importer gives documents back exactly, and refuses bad files in a sentence before it writes."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_lab.convert_npz import main as convert_main
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.importers import npz_file as npz_module
from lvm_lab.data.importers.npz import import_npz, open_source
from lvm_lab.data.store import Documents, Store, write_store
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError

L, D = 3, 8
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def unit(rng: np.random.Generator, rows: int, dtype: Any = np.float32) -> np.ndarray:
    vectors = rng.standard_normal((rows, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


@dataclass
class World:
    """Documents by article id, the chunk indices that a bank gives them, and a seed for the rest."""

    documents: dict[int, np.ndarray]
    chunks: dict[int, np.ndarray]
    rng: np.random.Generator

    def bank(self, shuffled: bool = True) -> dict[str, np.ndarray]:
        bank = {
            "vectors": np.concatenate(list(self.documents.values())),
            "article_indices": np.repeat(list(self.documents), [len(v) for v in self.documents.values()]),
            "chunk_indices": np.concatenate(list(self.chunks.values())),
        }
        order = self.rng.permutation(len(bank["vectors"])) if shuffled else np.arange(len(bank["vectors"]))
        return {key: values[order] for key, values in bank.items()}

    def windows(self, first: int = 0, keep: Any = None) -> dict[str, np.ndarray]:
        """Windows of L by place in the document counted from `first`; `keep(place)` picks the targets."""
        rows = [
            (v[t - L : t], v[t], a, t + first)
            for a, v in self.documents.items()
            for t in range(L, len(v))
            if keep is None or keep(a, t)
        ]
        order = self.rng.permutation(len(rows))
        contexts, targets, articles, indices = zip(*[rows[i] for i in order], strict=True)
        return {
            "contexts": np.stack(contexts),
            "targets": np.stack(targets),
            "article_ids": np.array(articles, dtype=np.int64),
            "target_indices": np.array(indices, dtype=np.int64),
        }


def make_world(seed: int, lengths: list[int], base: int = 0, dtype: Any = np.float32, gaps: bool = True) -> World:
    rng = np.random.default_rng(seed)
    documents = {base + 2 * i: unit(rng, n, dtype) for i, n in enumerate(lengths)}
    chunks = {
        a: base + np.cumsum(np.r_[0, rng.integers(1, 4 if gaps else 2, size=len(v) - 1)]) for a, v in documents.items()
    }
    return World(documents, chunks, rng)


worlds = st.builds(
    make_world,
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(L + 1, 12), min_size=1, max_size=5),
    base=st.sampled_from([0, 1]),
    dtype=st.sampled_from([np.float16, np.float32]),
    gaps=st.booleans(),
)


def save(path: Path, arrays: dict[str, Any], compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def load(tmp: Path, arrays: dict[str, Any], *, name: str = "in.npz", **options: Any) -> Store:
    return import_npz(save(tmp / name, arrays), tmp / "cache", **{"context_length": L, **options})


def documents_of(store: Store) -> list[tuple[int, np.ndarray]]:
    table = store.documents
    return [
        (int(i), np.array(store.vectors_ND[s : s + n]))
        for i, s, n in zip(table.id, table.start, table.length, strict=True)
    ]


def assert_documents(store: Store, expected: dict[int, np.ndarray]) -> None:
    got = documents_of(store)
    assert [i for i, _ in got] == sorted(expected)
    for ident, vectors in got:
        assert vectors.dtype == expected[ident].dtype
        np.testing.assert_array_equal(vectors, expected[ident])


# --- what goes in comes out ---------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(world=worlds, compressed=st.booleans(), block=st.sampled_from([64, 8 << 20]))
def test_a_shuffled_bank_gives_its_documents_back(world: World, compressed: bool, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_module, "BLOCK_BYTES", block)
        path = save(Path(folder) / "bank.npz", world.bank(), compressed)
        store = import_npz(path, Path(folder) / "cache", context_length=L)
        assert_documents(store, world.documents)
        assert not store.isolated
        assert store.contract.normalised is True


@settings(max_examples=40, deadline=None)
@given(world=worlds, first=st.sampled_from([0, 1, 100]), block=st.sampled_from([64, 8 << 20]))
def test_dense_windows_are_glued_back(world: World, first: int, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_module, "BLOCK_BYTES", block)
        store = load(Path(folder), world.windows(first))
        assert_documents(store, world.documents)
        assert not store.isolated


@settings(max_examples=40, deadline=None)
@given(world=worlds, seed=st.integers(0, 1000))
def test_sparse_windows_give_stretches_that_hold_every_window(world: World, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = {(a, t) for a, v in world.documents.items() for t in range(L, len(v)) if rng.random() < 0.4}
    a0 = next(iter(world.documents))
    kept.add((a0, L))
    with tempfile.TemporaryDirectory() as folder:
        arrays = world.windows(keep=lambda a, t: (a, t) in kept)
        store = load(Path(folder), arrays)
        covered = {a: sorted({p for b, t in kept if a == b for p in range(t - L, t + 1)}) for a, _ in kept}
        expected = []
        for a in sorted(covered):
            places = np.array(covered[a])
            for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
                expected.append((a, world.documents[a][run]))
        got = documents_of(store)
        assert [a for a, _ in got] == [a for a, _ in expected]
        for (_, mine), (_, theirs) in zip(got, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        windows = index_windows(store, np.arange(len(store.documents)), L)
        targets = windows.vectors(windows.target_row_W)
        pairs = {(c.tobytes(), t.tobytes()) for c, t in zip(windows.context(), targets, strict=True)}
        for context, target in zip(arrays["contexts"], arrays["targets"], strict=True):
            assert (context.astype(np.float32).tobytes(), target.astype(np.float32).tobytes()) in pairs


def test_context_indices_close_the_gaps_that_windows_step_over(tmp_path: Path) -> None:
    world = make_world(1, [9, 7])
    arrays = world.windows()
    chunks = world.chunks
    rows = list(zip(arrays["article_ids"].tolist(), arrays["target_indices"].tolist(), strict=True))
    arrays["context_indices"] = np.stack([chunks[a][t - L : t] for a, t in rows])
    arrays["target_indices"] = np.array([chunks[a][t] for a, t in rows])
    assert_documents(load(tmp_path, arrays), world.documents)


def test_windows_that_stand_twice_are_glued_once(tmp_path: Path) -> None:
    world = make_world(16, [7, 5])
    arrays = {key: np.concatenate([values, values[:3]]) for key, values in world.windows().items()}
    assert_documents(load(tmp_path, arrays), world.documents)


def test_context_indices_with_gaps_leave_isolated_windows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = make_world(2, [13]).windows(keep=lambda a, t: t >= 2 * L)
    arrays["article_ids"][:] = 4
    arrays["context_indices"] = arrays["target_indices"][:, None] - 2 * np.arange(L, 0, -1)
    store = load(tmp_path, arrays)
    assert store.isolated
    assert list(store.documents.length) == [L + 1] * len(arrays["targets"])
    assert set(store.documents.id) == {"4"}
    whole = np.asarray(store.vectors_ND).reshape(-1, L + 1, D)
    np.testing.assert_array_equal(whole[:, :L], arrays["contexts"])
    np.testing.assert_array_equal(whole[:, L], arrays["targets"])
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "offset sweep and the rollout are not measurable" in record.getMessage()
    assert "data.bank_path" in record.getMessage()


def apart() -> dict[str, np.ndarray]:
    """Windows of one article that share no vector, without their places."""
    return without(make_world(3, [18]).windows(keep=lambda a, t: t % (L + 2) == L), "target_indices")


def test_windows_without_their_places_are_isolated(tmp_path: Path) -> None:
    store = load(tmp_path, apart())
    assert store.isolated
    assert store.documents_known
    assert store.documents.id == ["0"] * 3


def test_context_indices_out_of_order_are_not_glued(tmp_path: Path) -> None:
    arrays = make_world(3, [6]).windows()
    arrays["context_indices"] = arrays["target_indices"][:, None] - np.arange(1, L + 1)
    assert load(tmp_path, arrays).isolated


@pytest.mark.parametrize("vectors", ["vectors", "embeddings", "X"])
@pytest.mark.parametrize("articles", ["article_indices", "article_ids", "batch_ids"])
@pytest.mark.parametrize("chunks", ["chunk_indices", "seq_idx", "seq_in_article"])
def test_bank_aliases(tmp_path: Path, vectors: str, articles: str, chunks: str) -> None:
    world = make_world(4, [6, 5])
    arrays = dict(zip((vectors, articles, chunks), world.bank().values(), strict=True))
    assert_documents(load(tmp_path, arrays), world.documents)


@pytest.mark.parametrize("contexts", ["contexts", "context", "context_sequences", "X"])
@pytest.mark.parametrize("targets", ["targets", "target", "target_vectors", "y"])
def test_sequence_aliases(tmp_path: Path, contexts: str, targets: str) -> None:
    world = make_world(5, [6, 5])
    arrays = world.windows()
    renamed = {contexts: arrays.pop("contexts"), targets: arrays.pop("targets"), **arrays}
    assert_documents(load(tmp_path, renamed), world.documents)


@pytest.mark.parametrize(("given_dtype", "kept"), [("<f2", "f2"), ("<f4", "f4"), (">f4", "f4"), ("<f8", "f4")])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dtypes_and_memory_orders(tmp_path: Path, given_dtype: str, kept: str, order: Any) -> None:
    world = make_world(6, [6, 5], dtype=np.float16)
    arrays = world.bank()
    arrays["vectors"] = np.array(arrays["vectors"].astype(given_dtype), order=order)
    store = load(tmp_path, arrays)
    assert store.vectors_ND.dtype == np.dtype(kept)
    assert_documents(store, {a: v.astype(kept) for a, v in world.documents.items()})


def test_plain_texts_follow_their_rows(tmp_path: Path) -> None:
    world = make_world(7, [6, 5])
    arrays = world.bank()
    names = [f"{a}:{c}" for a, c in zip(arrays["article_indices"], arrays["chunk_indices"], strict=True)]
    store = load(tmp_path, arrays | {"concept_texts": np.array(names)})
    assert store.texts() == [f"{a}:{c}" for a in sorted(world.chunks) for c in world.chunks[a]]


# --- the cache -----------------------------------------------------------------------------------


def test_a_second_import_opens_the_first_whatever_the_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    arrays = make_world(8, [6]).bank()
    first = load(tmp_path, arrays)
    written = (first.parts[0] / "vectors.npy").stat().st_mtime_ns
    (tmp_path / "in.npz").rename(tmp_path / "other.npz")
    second = import_npz(tmp_path / "other.npz", tmp_path / "cache", context_length=L)
    assert (second.path, second.content) == (first.path, first.content)
    assert (second.parts[0] / "vectors.npy").stat().st_mtime_ns == written
    assert ["imported before" in r.getMessage() for r in caplog.records] == [False, True]


def test_messages_name_the_users_file_and_not_the_cache(tmp_path: Path) -> None:
    arrays = make_world(8, [6]).bank()
    store = load(tmp_path, arrays)
    assert store.name == str(tmp_path / "in.npz")
    (store.path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=rf"^what an earlier run imported of {tmp_path / 'in.npz'} is damaged"):
        load(tmp_path, arrays)
    arrays["vectors"] = arrays["vectors"][:, :1]
    with pytest.raises(UserError, match=rf"^{tmp_path / 'in.npz'}: vectors of 1 dimension"):
        load(tmp_path, arrays)


def test_what_decides_the_store_decides_its_folder(tmp_path: Path) -> None:
    arrays = make_world(9, [6]).bank()
    plain = load(tmp_path, arrays)
    named = load(tmp_path, arrays, source="wiki")
    contracted = load(tmp_path, arrays, contract=EncoderContract(encoder="gtr"))
    assert len({plain.path, named.path, contracted.path}) == 3
    assert set(named.documents.source) == {"wiki"}
    assert contracted.contract.encoder == "gtr"
    with pytest.raises(UserError, match="no document is longer than the context of 6"):
        load(tmp_path, arrays, context_length=6)


def test_a_cached_isolated_store_warns_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = apart()
    load(tmp_path, arrays)
    caplog.clear()
    assert load(tmp_path, arrays).isolated
    assert sum("not measurable" in r.getMessage() for r in caplog.records) == 1


# --- the encoder contract ------------------------------------------------------------------------


def test_normalised_is_measured(tmp_path: Path) -> None:
    arrays = make_world(10, [6]).bank()
    assert load(tmp_path, arrays).contract.normalised is True
    long = arrays | {"vectors": 2 * arrays["vectors"]}
    assert load(tmp_path, long).contract.normalised is False
    for bad, said in ((arrays, False), (long, True)):
        with pytest.raises(UserError, match=f"normalised={said}.*set normalised={not said}"):
            load(tmp_path, bad, contract=EncoderContract(normalised=said))
    with pytest.raises(UserError, match="dim=768 and the vectors have 8"):
        load(tmp_path, arrays, contract=EncoderContract(dim=768))


# --- the bank join -------------------------------------------------------------------------------


def global_rows(bank: dict[str, np.ndarray], world: World, arrays: dict[str, np.ndarray]) -> np.ndarray:
    rows = {
        (a, c): r
        for r, (a, c) in enumerate(zip(bank["article_indices"].tolist(), bank["chunk_indices"].tolist(), strict=True))
    }
    places = zip(arrays["article_ids"].tolist(), arrays["target_indices"].tolist(), strict=True)
    return np.array([rows[a, int(world.chunks[a][t])] for a, t in places])


@settings(max_examples=40, deadline=None)
@given(world=worlds, meaning=st.sampled_from(["chunk", "place", "row", "row without articles"]), half=st.booleans())
def test_bank_join_under_every_meaning_of_target_indices(world: World, meaning: str, half: bool) -> None:
    bank = world.bank()
    used = set(list(world.documents)[:2])
    arrays = world.windows(keep=lambda a, t: a in used)
    if meaning == "chunk":
        places = zip(arrays["article_ids"].tolist(), arrays["target_indices"].tolist(), strict=True)
        arrays["target_indices"] = np.array([world.chunks[a][t] for a, t in places])
    elif meaning != "place":
        arrays["target_indices"] = global_rows(bank, world, arrays)
    if meaning == "row without articles":
        del arrays["article_ids"]
    if half:
        arrays |= {key: arrays[key].astype(np.float16) for key in ("contexts", "targets")}
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "bank.npz", bank)
        store = load(Path(folder), arrays, bank_path=path)
        assert_documents(store, {a: v for a, v in world.documents.items() if a in used})
        assert not store.isolated


def test_a_foreign_bank_is_refused_with_the_share(tmp_path: Path) -> None:
    world = make_world(11, [8, 8])
    bank = world.bank()
    arrays = world.windows()
    arrays["target_indices"] = global_rows(bank, world, arrays)
    arrays["targets"][::2] = unit(world.rng, len(arrays["targets"][::2]))
    path = save(tmp_path / "bank.npz", bank)
    with pytest.raises(UserError, match=r"50\.0% as the bank's global row.*leave data\.bank_path out"):
        load(tmp_path, arrays, bank_path=path)
    with pytest.raises(UserError, match="is an article bank itself"):
        load(tmp_path, bank, bank_path=path)
    with pytest.raises(UserError, match="an article bank needs"):
        load(tmp_path, arrays, bank_path=save(tmp_path / "no.npz", arrays))
    with pytest.raises(UserError, match="has vectors of 9 dimensions"):
        load(tmp_path, arrays, bank_path=save(tmp_path / "wide.npz", bank | {"vectors": np.ones((16, 9), "f4")}))
    del arrays["target_indices"]
    with pytest.raises(UserError, match="has no target_indices"):
        load(tmp_path, arrays, bank_path=path)
    assert not (tmp_path / "cache").exists()


# --- bad input: one sentence, nothing written ----------------------------------------------------


def edited(arrays: dict[str, np.ndarray], key: str, place: Any, value: Any) -> dict[str, np.ndarray]:
    copy = np.array(arrays[key])
    copy[place] = value
    return arrays | {key: copy}


BANK = make_world(12, [6, 5], gaps=False).bank(shuffled=False)
WINDOWS = make_world(12, [6, 5]).windows()
OBJECTS = np.array([np.ones(D)] * 11 + [None], dtype=object)[:11]


def without(arrays: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in arrays.items() if key not in keys}


BAD_ARRAYS: list[tuple[str, dict[str, Any], str]] = [
    ("no known keys", {"foo": np.ones(3)}, r"has foo \(3,\); an article bank needs .*a sequence file needs"),
    ("no vectors", without(BANK, "vectors"), "an article bank needs"),
    ("no articles", without(BANK, "article_indices"), "an article bank needs"),
    ("no order", without(BANK, "chunk_indices"), "bank without order"),
    ("no targets", without(WINDOWS, "targets"), "a sequence file needs"),
    ("vectors 1-D", BANK | {"vectors": np.ones(11, "f4")}, "vectors has shape .* N x D is needed"),
    ("X 1-D", without(BANK, "vectors") | {"X": np.ones(11, "f4")}, "an article bank needs"),
    ("contexts 2-D", WINDOWS | {"contexts": np.ones((5, D), "f4")}, "N x L x D is needed"),
    ("targets 3-D", WINDOWS | {"targets": np.ones((5, 1, D), "f4")}, "N x D is needed"),
    ("indices 2-D", BANK | {"chunk_indices": np.ones((11, 1), int)}, "one integer for each vector is needed"),
    ("short ids", BANK | {"article_indices": np.zeros(10, int)}, r"\(10,\) and does not fit the other arrays"),
    ("short targets", WINDOWS | {"targets": WINDOWS["targets"][:-1]}, "does not fit the other arrays"),
    ("short article_ids", WINDOWS | {"article_ids": np.zeros(2, int)}, "does not fit the other arrays"),
    ("other dim", WINDOWS | {"targets": WINDOWS["targets"][:, 1:]}, "does not fit the other arrays"),
    ("NaN", edited(BANK, "vectors", (7, 2), np.nan), r"vectors\[7\] holds NaN or infinity"),
    ("inf", edited(WINDOWS, "targets", (1, 2), np.inf), r"targets\[1\] holds NaN or infinity"),
    ("context NaN", edited(WINDOWS, "contexts", (1, 2), np.nan), r"contexts\[1, 2\] holds NaN"),
    (
        "float64 overflow",
        edited(BANK | {"vectors": BANK["vectors"].astype("f8")}, "vectors", 1, 1e300),
        "too long to compute with",
    ),
    ("large", BANK | {"vectors": BANK["vectors"].astype(np.float64) * 1e25}, "too long to compute with in float32"),
    ("small", BANK | {"vectors": BANK["vectors"] * 1e-30}, "too short to compute with in float32"),
    ("zero vector", edited(BANK, "vectors", 3, 0), r"vectors\[3\] is all zeros"),
    ("zero context", edited(WINDOWS, "contexts", (1, 2), 0), r"contexts\[1, 2\] is all zeros"),
    ("negative", edited(BANK, "article_indices", 3, -1), "holds -1, which is no index"),
    ("too large", BANK | {"chunk_indices": np.full(11, 2**64 - 1, np.uint64)}, "which is no index"),
    ("float ids", BANK | {"chunk_indices": BANK["chunk_indices"] / 2}, "float64 where integers are needed"),
    ("string chunks", BANK | {"chunk_indices": np.array(["a"] * 11)}, "where integers are needed"),
    ("string articles", BANK | {"article_indices": np.array(["a"] * 11)}, "article a has chunk 0 twice"),
    ("integer vectors", BANK | {"vectors": np.ones((11, D), np.int8)}, "int8 where float vectors are needed"),
    ("duplicate", edited(BANK, "chunk_indices", 1, 0), r"article 0 has chunk 0 twice \(rows 0 and 1\)"),
    ("short documents", {k: v[:L] for k, v in BANK.items()}, "no document is longer than the context of 3"),
    ("empty", {k: v[:0] for k, v in BANK.items()}, "vectors is empty"),
    ("empty windows", {k: v[:0] for k, v in WINDOWS.items()}, "contexts is empty"),
    ("no dimensions", BANK | {"vectors": np.ones((11, 0), "f4")}, "vectors is empty"),
    ("pickled vectors", BANK | {"vectors": OBJECTS}, "never unpickled.*lvm-lab convert-npz"),
    ("pickled ids", BANK | {"article_indices": OBJECTS}, "article_indices is a pickled object array"),
    ("pickled X", without(BANK, "vectors") | {"X": OBJECTS}, "X is a pickled object array"),
]


@pytest.mark.parametrize(("arrays", "sentence"), [p[1:] for p in BAD_ARRAYS], ids=[p[0] for p in BAD_ARRAYS])
def test_bad_arrays_are_refused_in_a_sentence(tmp_path: Path, arrays: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        load(tmp_path, arrays)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache").exists()


def test_another_context_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load(tmp_path, WINDOWS, context_length=5)
    expected = "has windows of 3 context vectors and data.context_length is 5; set data.context_length=3."
    assert str(raised.value) == f"{tmp_path / 'in.npz'} {expected}"
    assert not (tmp_path / "cache").exists()


def npy_bytes(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """A `.npy` whose header declares another shape than it holds."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    )
    return buffer.getvalue() + array.tobytes()


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    good = save(folder / "good.npz", BANK)
    data = good.read_bytes()
    files: dict[str, tuple[Path, str]] = {
        "missing": (folder / "none.npz", "does not exist"),
        "folder": (folder, "is a folder"),
    }
    at = data.index(BANK["vectors"].tobytes())
    declared = bytearray(data)
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"vectors.npy"))
    declared[place + 24 : place + 28] = struct.pack("<I", 2**31)
    contents = {
        "empty": b"",
        "text": b"no zip at all",
        "npy": npy_bytes(BANK["vectors"]),
        "truncated": data[: len(data) // 2],
        "flipped": data[: at + 9] + bytes([data[at + 9] ^ 255]) + data[at + 10 :],
        "absurd": bytes(declared),
    }
    for name, content in contents.items():
        (folder / f"{name}.npz").write_bytes(content)
        files[name] = (folder / f"{name}.npz", "is not a readable .npz")
    others = {key + ".npy": npy_bytes(BANK[key]) for key in ("article_indices", "chunk_indices")}
    members = {
        "huge": others | {"vectors.npy": npy_bytes(BANK["vectors"], (10**12, D))},
        "negative": others | {"vectors.npy": npy_bytes(BANK["vectors"], (-11, -D))},
        "garbage": others | {"vectors.npy": b"\x93NUMPY\x01\x00\x05\x00hello"},
        "bad header": others | {"vectors.npy": b"\x93NUMPY\x01\x00\x0a\x00{'descr': ("},
        "no members": {"readme.txt": b"hello"},
    }
    for name, parts in members.items():
        files[name] = (zip_of(folder / f"{name}.npz", parts), "is not a readable .npz")
    return files


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "folder",
        "empty",
        "text",
        "npy",
        "truncated",
        "flipped",
        "absurd",
        "huge",
        "negative",
        "garbage",
        "bad header",
        "no members",
    ],
)
def test_broken_files_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    path, sentence = broken_files(tmp_path)[name]
    with pytest.raises(UserError, match=sentence) as raised:
        import_npz(path, tmp_path / "cache", context_length=L)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "cache").exists()


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**6), value=st.integers(0, 255), compressed=st.booleans(), cut=st.booleans())
def test_a_damaged_byte_gives_the_same_documents_or_a_sentence(
    at: int, value: int, compressed: bool, cut: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "bank.npz", BANK, compressed)
        data = bytearray(path.read_bytes())
        at %= len(data)
        if cut:
            del data[at:]
        else:
            data[at] = value
        path.write_bytes(data)
        try:
            store = import_npz(path, Path(folder) / "cache", context_length=L)
        except UserError:
            assert not (Path(folder) / "cache").exists()
        else:
            np.testing.assert_array_equal(store.vectors_ND, BANK["vectors"])


# --- pickles -------------------------------------------------------------------------------------


class Touch:
    """Unpickling one makes the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("key", ["vectors", "article_indices", "chunk_indices", "metadata", "concept_texts"])
def test_a_pickle_is_never_executed(tmp_path: Path, key: str) -> None:
    touched = tmp_path / "touched"
    payload = np.array([Touch(touched)] * 11, dtype=object)
    arrays = BANK | {key: payload}
    if key in BANK:
        with pytest.raises(UserError, match=f"{key} is a pickled object array"):
            load(tmp_path, arrays)
    else:
        load(tmp_path, arrays)
    assert not touched.exists()
    assert convert_main([str(tmp_path / "in.npz"), str(tmp_path / "out")]) == 2
    assert not touched.exists()


def test_pickles_beside_good_vectors_give_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = {"concept_texts": np.array(["a"] * 11, dtype=object), "metadata": np.array([{"a": 1}], dtype=object)}
    store = load(tmp_path, BANK | others)
    assert store.texts() is None
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "concept_texts, metadata left unread" in record.getMessage()
    assert "lvm-lab convert-npz" in record.getMessage()


# --- the converter -------------------------------------------------------------------------------


def test_the_converter_keeps_texts_with_their_rows(tmp_path: Path) -> None:
    world = make_world(13, [6, 5])
    arrays: dict[str, Any] = world.bank()
    names = [f"{a}:{c}" for a, c in zip(arrays["article_indices"], arrays["chunk_indices"], strict=True)]
    arrays["concept_texts"] = np.array(names, dtype=object)
    arrays["vectors"] = np.fromiter(arrays["vectors"], dtype=object)
    path = save(tmp_path / "in.npz", arrays)
    assert convert_main([str(path), str(tmp_path / "out"), "--trust-pickle"]) == 0
    store = open_source(tmp_path / "out", tmp_path / "cache", context_length=L)
    assert_documents(store, world.documents)
    assert store.texts() == [f"{a}:{c}" for a in sorted(world.chunks) for c in world.chunks[a]]
    assert store.contract.normalised is True


@pytest.mark.parametrize("rows", ["one dict", "a dict a row"])
def test_the_converter_takes_indices_from_metadata(tmp_path: Path, rows: str) -> None:
    world = make_world(14, [6, 5])
    arrays: dict[str, Any] = world.windows()
    lists = {
        "article_index": arrays.pop("article_ids").tolist(),
        "target_chunk_index": arrays.pop("target_indices").tolist(),
    }
    dicts = (
        [lists] if rows == "one dict" else [dict(zip(lists, v, strict=True)) for v in zip(*lists.values(), strict=True)]
    )
    arrays["metadata"] = np.array(dicts, dtype=object)
    named = [f"{a}:{t}" for a, t in zip(*lists.values(), strict=True)]
    path = save(tmp_path / "in.npz", arrays | {"target_texts": np.array(named, dtype=object)})
    assert convert_main([str(path), str(tmp_path / "out"), "--trust-pickle"]) == 0
    store = open_source(tmp_path / "out", tmp_path / "cache", context_length=L)
    assert_documents(store, world.documents)
    expected = [f"{a}:{t}" if t >= L else "" for a, v in world.documents.items() for t in range(len(v))]
    assert store.texts() == expected


def test_the_converter_refuses_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = np.array(["a"] * 11, dtype=object)
    bad = {
        "flag": (BANK | {"concept_texts": objects}, [], "add --trust-pickle"),
        "texts": (BANK | {"concept_texts": objects[:4]}, ["--trust-pickle"], "4 texts stand beside 11 rows"),
        "ids": (BANK | {"chunk_indices": objects}, ["--trust-pickle"], "where numbers are needed"),
        "ragged": (
            BANK | {"vectors": np.array([np.ones(2), None], object)},
            ["--trust-pickle"],
            "one array of numbers",
        ),
        "metadata": (
            WINDOWS | {"metadata": np.array([{"article_index": 1}, {}], object)},
            ["--trust-pickle"],
            "1 of 2 metadata entries have article_index",
        ),
    }
    for name, (arrays, flags, sentence) in bad.items():
        path = save(tmp_path / f"{name}.npz", arrays)
        assert convert_main([str(path), str(tmp_path / "out"), *flags]) == 2
        error = capsys.readouterr().err
        assert sentence in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
    path = save(tmp_path / "good.npz", BANK)
    assert convert_main([str(path), str(tmp_path), "--trust-pickle"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.slow
def test_the_converter_is_a_command_without_torch(tmp_path: Path) -> None:
    path = save(tmp_path / "in.npz", BANK)
    command = [sys.executable, "-m", "lvm_lab.convert_npz", str(path), str(tmp_path / "out")]
    refused = subprocess.run(command, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    check = "import sys, lvm_lab.convert_npz; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


# --- folders -------------------------------------------------------------------------------------


def test_open_source_opens_stores_and_imports_files(tmp_path: Path) -> None:
    path = save(tmp_path / "in.npz", BANK)
    store = open_source(path, tmp_path / "cache", context_length=L)
    again = open_source(store.path, tmp_path / "none", context_length=L)
    assert again.content == store.content
    with pytest.raises(UserError, match=r"without manifest\.json"):
        open_source(tmp_path, tmp_path / "none", context_length=L)
    with pytest.raises(UserError, match="no document is longer"):
        open_source(store.path, tmp_path / "none", context_length=20)
    for place in (path, store.path):
        assert open_source(place, tmp_path / "cache", context_length=20, min_context=2).content == store.content
        with pytest.raises(UserError, match=r"than the shortest context of 19 .*smaller data\.min_context"):
            open_source(place, tmp_path / "cache", context_length=20, min_context=19)
    with pytest.raises(UserError, match=r"leave data\.bank_path out"):
        open_source(store.path, tmp_path / "none", context_length=L, bank_path=path)
    with pytest.raises(UserError, match="normalised False against True"):
        open_source(store.path, tmp_path / "none", context_length=L, contract=EncoderContract(normalised=False))
    with open(store.parts[0] / "vectors.npy", "r+b") as handle:
        handle.seek(-4, os.SEEK_END)
        handle.write(b"\x00\x00\x00\x00")
    with pytest.raises(UserError, match="does not match the sha256"):
        open_source(store.path, tmp_path / "none", context_length=L)
    assert not (tmp_path / "none").exists()


def test_an_import_equals_a_store_written_by_hand(tmp_path: Path) -> None:
    world = make_world(15, [6, 5])
    table = Documents(["0", "2"], ["", ""], ["npz"] * 2, np.array([0, 6]), np.array([6, 5]))
    by_hand = write_store(tmp_path / "hand", np.concatenate(list(world.documents.values())), table, EncoderContract())
    assert load(tmp_path, world.bank()).content == by_hand.content


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "documents", "chunks"), [("wikipedia", 60, 3667), ("novel", 56, 4401), ("peps", 596, 35718)]
)
def test_real_banks(tmp_path: Path, name: str, documents: int, chunks: int) -> None:
    path = REAL_DATA / f"{name}_minilm.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there: the small real data are no part of the repository")
    store = open_source(path, tmp_path, context_length=5)
    assert (len(store.documents), *store.vectors_ND.shape) == (documents, chunks, 384)
    assert store.vectors_ND.dtype == np.float16
    assert store.contract.normalised is True
    with np.load(path) as arrays:
        np.testing.assert_array_equal(store.vectors_ND, arrays["vectors"])
