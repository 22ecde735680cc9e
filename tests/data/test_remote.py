"""A store behind an address is copied part by part, checked, and opened like any other."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest

from helpers.documents import make_documents
from helpers.schema_1 import write_schema_1
from helpers.store_parts import CONTRACT, L, append, vectors
from lvm_lab.config.data import DataSettings
from lvm_lab.data import remote
from lvm_lab.data.contexts import open_contexts
from lvm_lab.data.importers.npz import open_source
from lvm_lab.data.manifest import read_manifest
from lvm_lab.data.sources.npz import Npz
from lvm_lab.data.store import Store, open_store
from lvm_lab.errors import UserError
from lvm_lab.files import address


@pytest.fixture
def two(tmp_path: Path) -> Store:
    append(tmp_path / "store", tmp_path / "one", [4, 5], ["a", "b"], 1)
    return append(tmp_path / "store", tmp_path / "two", [6], ["c"], 2)


def upload(store: Path, url: str) -> str:
    files, root = fsspec.core.url_to_fs(url)
    if files.exists(root):
        files.rm(root, recursive=True)
    for file in store.rglob("*"):
        if file.is_file() and file.suffix:
            place = f"{root}/{file.relative_to(store)}"
            files.makedirs(place.rpartition("/")[0], exist_ok=True)
            files.pipe_file(place, file.read_bytes())
    return url


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path: Path, two: Store) -> str:
    place = "memory://bucket/store" if request.param == "memory" else f"file://{tmp_path / 'elsewhere'}"
    return upload(two.path, place)


def test_data_path_takes_an_address(two: Store, cache: Path, url: str) -> None:
    store = Npz(path=url).open(cache, DataSettings(context_length=L)).store
    assert (store.content, store.name) == (two.content, url)
    assert np.array_equal(store.vectors_ND[:], two.vectors_ND[:])
    assert store.texts() == two.texts()
    assert all(isinstance(part, np.memmap) for part in store.vectors_ND.parts)  # type: ignore[attr-defined]
    assert all(part.is_relative_to(cache) for part in store.parts)


def test_a_part_is_copied_once_wherever_it_is(two: Store, cache: Path, url: str, tmp_path: Path, monkeypatch) -> None:
    first = open_source(url, cache, context_length=L)
    append(two.path, tmp_path / "more", [7], ["d"], 3)
    upload(two.path, url)
    files = type(fsspec.core.url_to_fs(url)[0])
    copied: list[str] = []
    whole = files.get_file
    monkeypatch.setattr(files, "get_file", lambda self, there, *args: copied.append(there) or whole(self, there, *args))
    second = open_source(f"{url}/", cache, context_length=L)
    assert len(copied) == 3, "the new part's files alone"
    assert second.content == open_store(two.path).content
    assert np.array_equal(first.vectors_ND[:], two.vectors_ND[:]), "who has it open reads what was there"
    assert not list(cache.glob("parts/.*"))


def test_stores_of_the_first_version_are_read_there_too(tmp_path: Path, cache: Path) -> None:
    for k in range(2):
        texts = [f"{k}: {i}" for i in range(9)]
        content = write_schema_1(tmp_path / f"old{k}", vectors(9, 5), make_documents([4, 5]), CONTRACT, texts)
        store = open_source(upload(tmp_path / f"old{k}", f"memory://old{k}"), cache, context_length=L)
        assert store.content == content
        assert store.texts() == texts


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (
            "memory://nothing/here",
            "is no store that can be read .FileNotFoundError.*give the address of a store",
        ),
        ("nonsense://bucket/store", "is no store that can be read .*Protocol not known.*give the address"),
        ("file:///proc/self", "is no store that can be read .*give the address"),
        ("http://127.0.0.1:9/store", "give the address|not installed"),
    ],
)
def test_an_address_without_a_store_is_a_sentence(cache: Path, place: str, words: str) -> None:
    with pytest.raises(UserError, match=f"^{place} .*({words})"):
        open_source(place, cache, context_length=L)


def test_a_missing_driver_is_a_sentence(cache: Path, monkeypatch) -> None:
    def missing(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match=r"^s3://bucket/x needs a package .*\(Install s3fs to access S3\); install it"):
        open_source("s3://bucket/x", cache, context_length=L)


@pytest.mark.parametrize("name", ["vectors.npy", "chunks.parquet", "documents.parquet"])
@pytest.mark.parametrize("damage", ["changed", "missing", "truncated"])
def test_a_damaged_part_is_a_sentence_and_is_not_kept(two: Store, cache: Path, name: str, damage: str) -> None:
    file = two.parts[0] / name
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        shutil.copy(two.parts[1] / name, file)
        if name == "chunks.parquet":
            file.write_bytes(file.read_bytes().replace(b"text", b"tezt", 1))
    url = upload(two.path, "memory://damaged")
    with pytest.raises(
        UserError, match=r"memory://damaged (does not match .*; copy the store|is no store|is not a read)"
    ):
        open_source(url, cache, context_length=L)
    kept = [folder.name for folder in (cache / remote.HOME).iterdir()]
    assert len(kept) <= 1
    assert not any(folder.startswith(".") for folder in kept)


def test_a_first_opening_reads_every_byte_for_its_digest_once(two: Store, cache: Path, url: str, monkeypatch) -> None:
    digest, read = hashlib.file_digest, []
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: read.append(file.name) or digest(file, kind))
    open_source(url, cache, context_length=L)
    assert sorted(Path(file).name for file in read) == ["chunks.parquet"] * 2 + ["vectors.npy"] * 2


def test_a_copy_that_was_damaged_in_the_cache_is_told(cache: Path, url: str) -> None:
    copy = open_source(url, cache, context_length=L).parts[0]
    content = bytearray((copy / "vectors.npy").read_bytes())
    content[-9] ^= 1
    (copy / "vectors.npy").write_bytes(content)
    words = rf"a copy in the cache is damaged \({re.escape(url)} does not match .*\); delete the folder {copy} and give"
    with pytest.raises(UserError, match=words):
        open_source(url, cache, context_length=L)


def test_predictions_take_an_address_too(two: Store, cache: Path, url: str) -> None:
    contexts, own = (open_contexts(place, cache, DataSettings(context_length=L)) for place in (url, two.path))
    for (mine, places), (theirs, own_places) in zip(contexts.batches(4), own.batches(4), strict=True):
        for (some, mine_BLD), (own_some, own_BLD) in zip(mine, theirs, strict=True):
            assert np.array_equal(some, own_some)
            assert np.array_equal(mine_BLD, own_BLD)
        assert all(np.array_equal(places[name], own_places[name]) for name in own_places)
    with pytest.raises(UserError, match=f"^{re.escape(url)}: the model reads 9 vectors and the longest document has 6"):
        open_contexts(url, cache, DataSettings(context_length=9))


def test_a_bank_does_not_go_with_a_store(two: Store, cache: Path, url: str) -> None:
    with pytest.raises(UserError, match="is a store, which has its documents already"):
        open_source(url, cache, context_length=L, bank_path=Path("bank.npz"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://me:SECRET@host:80/x?key=SECRET", "http://host:80/x"),
        ("http://me:SE/C?RET@host/x", "http://host/x"),
        ("s3://bucket/key@v1/store/", "s3://bucket/key@v1/store"),
        ("file:///home/me@work/store", "file:///home/me@work/store"),
        ("https://[::1]:8/x@y", "https://[::1]:8/x@y"),
    ],
)
def test_messages_hide_who_asks_and_nothing_of_the_place(url: str, expected: str) -> None:
    assert address(url) == expected


def test_a_file_that_cannot_be_copied_shows_no_password(tmp_path: Path) -> None:
    class Files:
        def exists(self, _: str) -> bool:
            return True

        def get_file(self, there: str, _: str) -> None:
            raise FileNotFoundError(there)

    part = read_manifest(append(tmp_path / "store", tmp_path / "one", [4], ["a"], 1).path).parts[0]
    with pytest.raises(UserError, match=r"FileNotFoundError: http://host/x/parts") as caught:
        remote._fetch("http://host/x", Files(), "http://me:SECRET@host/x", part, tmp_path)
    assert "SECRET" not in str(caught.value)
