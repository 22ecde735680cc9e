"""`lvm-lab index`: held against an exact search that is written out here; what does not belong is one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.commands import Outcome, call
from helpers.documents import make_documents
from lvm_lab import index
from lvm_lab.config.index import IndexSettings
from lvm_lab.data.contract import EncoderContract
from lvm_lab.data.index import StoreIndex, open_index, read_index_manifest
from lvm_lab.data.indices.hnsw import Hnsw
from lvm_lab.data.indices.pq import Pq
from lvm_lab.data.joined import join_stores
from lvm_lab.data.recall import Queries, exact
from lvm_lab.data.store import Store, open_store, write_store
from lvm_lab.data.windows import index_windows
from lvm_lab.errors import UserError
from lvm_lab.judge.baseline import FitData
from lvm_lab.judge.baselines.nearest import NearestNeighbour

KINDS = {"flat": (), "ivf": ("index.lists=12",), "hnsw": ("index.links=8",), "pq": ("index.lists=4", "index.bytes=8")}
LENGTHS = [40] * 50
MAPS = Path("/proc/self/maps")


def stored(path: Path, seed: int = 0, encoder: str = "toy") -> Store:
    """Documents around centres of their own, not of unit length."""
    rng = np.random.default_rng(seed)
    centre_ND = np.repeat(rng.normal(size=(len(LENGTHS), 16)), LENGTHS, axis=0)
    vectors_ND = (3 * centre_ND + rng.normal(size=centre_ND.shape)).astype(np.float32)
    return write_store(path, vectors_ND, make_documents(LENGTHS), EncoderContract(encoder=encoder, dim=16))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store `own`, and an index of each kind beside it."""
    folder = tmp_path_factory.mktemp("indices")
    stored(folder / "own")
    for kind, more in KINDS.items():
        done = made(folder, "own", f"index={kind}", *more)
        assert done.code == 0, done.err
        assert f"own.{kind}.index: {kind}" in done.out
    return folder


def made(home: Path, *arguments: str) -> Outcome:
    return call(home, *arguments, "cache=cache", "queries=100", "threads=1", main=index.main)


def opened(home: Path, kind: str) -> StoreIndex:
    store = open_store(home / "own")
    return open_index(home / f"own.{kind}.index", store.vectors_ND, store.content)


def by_hand(vectors_ND: np.ndarray, query_BD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    unit_ND = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    cosine_BN = (query_BD / np.linalg.norm(query_BD, axis=1, keepdims=True)) @ unit_ND.T
    rows_BK = np.argsort(-cosine_BN, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosine_BN, rows_BK, 1), rows_BK


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_finds_what_an_exact_search_finds_at_its_recall(home: Path, kind: str) -> None:
    own = opened(home, kind)
    query_BD = 7 * np.asarray(own.vectors_ND[::37]) + 0.5
    scores_BK, rows_BK = own.search(query_BD, 10)
    truth_BK, right_BK = by_hand(np.asarray(own.vectors_ND), query_BD, 10)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows_BK, right_BK, strict=True)])
    assert shared > (0.9999 if kind == "flat" else 0.85)
    same = rows_BK == right_BK
    # Cosines are those of the store's vectors, also of pq, whose own are of codes.
    np.testing.assert_allclose(scores_BK[same], truth_BK[same], atol=1e-5)
    assert (np.diff(scores_BK, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_says_of_what_and_how_well(home: Path, kind: str) -> None:
    manifest, store = read_index_manifest(home / f"own.{kind}.index"), open_store(home / "own")
    assert (manifest.store, manifest.rows, manifest.dim) == (store.content, 2000, 16)
    assert manifest.encoder["encoder"] == "toy"
    figures = manifest.figures
    assert figures["held_out"] == {"documents": 2, "vectors": 80}
    assert figures["queries"] == 40
    assert figures["recall"]["chunks"]["10"] > (0.9999 if kind == "flat" else 0.85)
    assert all(rate > 0 for rates in figures["queries_a_second"].values() for rate in rates.values())
    learned = {"flat": 0, "hnsw": 0, "ivf": 600, "pq": 1920}
    assert figures["trained_on"] == learned[kind]


@pytest.mark.skipif(not MAPS.exists(), reason="says which files are mapped")
def test_every_kind_is_mapped_from_its_file(home: Path) -> None:
    for kind in KINDS:
        one = opened(home, kind)
        assert f"own.{kind}.index/index.faiss" in MAPS.read_text()
        assert one.faiss.ntotal == 2000


def test_the_same_command_again_shows_what_is_there(home: Path) -> None:
    file = home / "own.ivf.index" / "index.faiss"
    before = file.stat().st_mtime_ns
    done = made(home, "own", "index=ivf", "index.lists=12")
    assert (done.code, file.stat().st_mtime_ns) == (0, before)
    assert "is there already" in done.out
    other = made(home, "own", "index=ivf", "index.lists=13")
    assert other.code == 2
    assert "is an index with other settings (ivf); name another out=FOLDER" in other.sentence


def test_several_stores_are_one(home: Path) -> None:
    stored(home / "more", seed=1)
    done = made(home, "store=[own,more]", "index=flat", "out=both")
    assert done.code == 0, done.err
    assert read_index_manifest(home / "both").rows == 4000
    assert made(home, "store=[own,more]", "index=flat").sentence.endswith("needs a place; add out=FOLDER.")


def test_an_index_of_another_store_or_encoder_is_refused(home: Path) -> None:
    other = stored(home / "other", seed=2)
    own = open_store(home / "own")
    with pytest.raises(UserError, match=r"is an index of another store \(own, 2000 vectors\); make one of this store"):
        open_index(home / "own.flat.index", other.vectors_ND, other.content)
    with pytest.raises(UserError, match=r"is over vectors of another encoder \(encoder .*search with vectors of its"):
        open_index(home / "own.flat.index", own.vectors_ND, own.content, EncoderContract(encoder="gtr-t5-base", dim=16))
    with pytest.raises(UserError, match="over vectors of 16 dims"):
        opened(home, "flat").search(np.ones((2, 8), np.float32), 3)


def damaged(folder: Path, how: str) -> None:
    file, manifest = folder / "index.faiss", folder / "manifest.json"
    node = json.loads(manifest.read_text())
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif how == "flipped":
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 2] ^= 1
        file.write_bytes(whole)
    elif how == "foreign":
        file.write_bytes(b"no index at all")
        manifest.write_text(json.dumps(node | {"size": 15, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}))
    elif how == "gone":
        file.unlink()
    else:
        older = json.dumps(node | {"schema_version": 0})
        manifest.write_text({"torn": '{"store": ', "list": "[]", "older": older}[how])


@pytest.mark.parametrize("how", ["cut", "flipped", "foreign", "gone", "torn", "list", "older"])
def test_a_damaged_index_is_one_sentence(home: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(home / "own.ivf.index", tmp_path / "own.ivf.index")
    shutil.copytree(home / "own", tmp_path / "own")
    damaged(tmp_path / "own.ivf.index", how)
    done = made(tmp_path, "own", "index=ivf", "index.lists=12")
    assert done.code == 2
    assert done.sentence.startswith(f"{tmp_path}/own.ivf.index is no readable index (")
    assert done.sentence.endswith("make it again with lvm-lab index, under another name.")


def test_mistakes_are_told_and_nothing_is_left(home: Path) -> None:
    write_store(home / "two", np.ones((8, 16), np.float32), make_documents([4, 4]), EncoderContract(dim=16))
    before = sorted(path.name for path in home.iterdir())
    for arguments, words in {
        ("own", "index=ivf", "index.lists=5000", "out=x"): "index.lists=5000 are more than the",
        ("own", "index=pq", "index.bytes=5", "out=x"): "index.bytes=5 does not divide 16 dims",
        ("own", "index=ivf", "index.lists=0", "out=x"): "index.lists=0 does not fit; set 1 or more",
        ("own", "recall=2", "out=x"): "recall=2 does not fit",
        ("two", "out=x"): "has 2 documents, and 2 are held out",
        ("own", "out=own"): "own is no readable index (its manifest is not of schema 1)",
        ("own", "index=lsh", "out=x"): "index=lsh does not exist; choose one of flat, hnsw, ivf, pq",
        ("out=x",): "index needs a store",
    }.items():
        done = made(home, *arguments)
        assert done.code == 2, (arguments, done.out)
        assert words in done.sentence
    assert sorted(path.name for path in home.iterdir()) == before


def test_settings_at_which_faiss_would_break_are_refused(home: Path) -> None:
    own = open_store(home / "own")
    for made_of, words in (
        (lambda: Hnsw(links=1), "index.links=1 does not fit; set 2 or more"),
        (lambda: Pq(rerank=-1), "index.rerank=-1 does not fit; set 0 or more"),
        (lambda: IndexSettings({}, ["own"], "x", seed=-1), "seed=-1 does not fit; set 0 to"),
        (lambda: IndexSettings({}, ["own"], "x", seed=2**31), "does not fit; set 0 to 2147483647"),
        (lambda: join_stores([own, own], setting="store"), "store lists the same vectors twice"),
    ):
        with pytest.raises(UserError, match=words):
            made_of()
    assert Pq(rerank=0).rerank == 0


def test_chunks_that_follow_nothing_and_windows_of_a_file_are_vectors_too(home: Path, tmp_path: Path) -> None:
    """What is looked up needs no window, and a file's windows may be of any length."""
    vectors_ND = np.random.default_rng(0).normal(size=(120, 16)).astype(np.float32)
    write_store(tmp_path / "alone", vectors_ND, make_documents([1] * 120), EncoderContract(dim=16))
    windows = vectors_ND.reshape(20, 6, 16)
    np.savez(tmp_path / "windows.npz", contexts=windows[:, :5], targets=windows[:, 5])
    for name in ("alone", "windows.npz"):
        done = made(tmp_path, name, "index=flat")
        assert done.code == 0, done.err
        assert "120 vectors of 16 dims" in done.out


def test_a_small_store_has_codes_and_no_words_of_faiss(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = made(home, "own", "index=pq", "index.lists=4", "index.bytes=2", "out=small")
    assert done.code == 0
    assert "please provide" not in "".join([*capfd.readouterr(), done.err])


def test_an_index_of_a_store_that_has_grown_is_in_the_way(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "own.flat.index", tmp_path / "own.flat.index")
    stored(tmp_path / "own", seed=3)
    done = made(tmp_path, "own", "index=flat")
    assert done.code == 2
    assert "or of this one before it grew; name another out=FOLDER, or move it away" in done.sentence
    assert made(tmp_path, "own", "index=flat", "out=anew").code == 0


@pytest.mark.parametrize("kind", ["flat", "ivf", "pq"])
def test_a_search_among_some_rows_finds_those_alone(home: Path, kind: str) -> None:
    own = opened(home, kind)
    among = np.array([3, 700, 1500, 1999])
    _, rows_BK = own.search(np.asarray(own.vectors_ND[::100]), 5, among=among)
    assert (rows_BK[:, 4] == -1).all()
    assert {tuple(sorted(row)) for row in rows_BK[:, :4]} == {tuple(among)}
    with pytest.raises(UserError, match="is a graph"):
        opened(home, "hnsw").search(np.ones((1, 16), np.float32), 1, among=among)


def test_the_nearest_baseline_looks_by_an_index_where_asked(home: Path) -> None:
    """A flat index over the store gives what the search among all training windows gives."""
    store = open_store(home / "own")
    windows = index_windows(store, np.arange(20), 5)
    data = FitData(windows, windows, None, content={"store": store.content})  # type: ignore[arg-type]
    context_BLD = torch.from_numpy(np.random.default_rng(0).normal(size=(30, 5, 16)).astype(np.float32))
    plain = NearestNeighbour.fit(data)(context_BLD).raw_ND
    indexed = NearestNeighbour.fit(data, index=str(home / "own.flat.index"))(context_BLD).raw_ND
    assert torch.equal(plain, indexed)
    with pytest.raises(UserError, match="index of another store"):
        NearestNeighbour.fit(FitData(windows, windows, None), index=str(home / "own.flat.index"))  # type: ignore[arg-type]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 60), st.integers(1, 8))
def test_recall_is_counted_without_what_a_query_is_made_of(seed: int, rows: int, asked: int) -> None:
    rng = np.random.default_rng(seed)
    vectors_ND = rng.normal(size=(rows, 4)).astype(np.float32)
    rows_Q = rng.integers(0, rows, asked)
    for queries in (Queries.chunks(vectors_ND, rows_Q), Queries.means(vectors_ND, rows_Q, rows_Q // 3 * 3)):
        truth = exact(vectors_ND, [queries])[0]
        cosine_QN = queries.unit_QD @ (vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)).T
        for cosine_N, without_X in zip(cosine_QN, queries.without_QX, strict=True):
            cosine_N[without_X[without_X >= 0]] = -np.inf
        best_QK = -np.sort(-cosine_QN, axis=1)[:, :10]
        np.testing.assert_allclose(truth.scores_QK[:, : best_QK.shape[1]], best_QK, atol=1e-6)
        ranked_QK = np.argsort(-cosine_QN, axis=1, kind="stable")[:, :10]
        shares = truth.recall(np.where(np.take_along_axis(cosine_QN, ranked_QK, 1) > -2, ranked_QK, -1), vectors_ND)
        assert set(shares.values()) <= {1.0, None}


def test_faiss_threads_are_what_they_were(home: Path) -> None:
    before = faiss.omp_get_max_threads()
    made(home, "own", "index=flat")
    assert faiss.omp_get_max_threads() == before
