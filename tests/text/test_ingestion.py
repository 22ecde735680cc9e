"""`lvm-lab ingest`: texts to a store, a block at a time; interrupted anywhere it ends with the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from helpers.commands import call
from helpers.ingesting import content, give, made, staging
from helpers.text_parts import Letters, Stories
from lvm_lab import verify
from lvm_lab.data.contract import PROBES
from lvm_lab.data.manifest import read_manifest
from lvm_lab.data.store import open_store
from lvm_lab.errors import UserError
from lvm_lab.text.ingestion import publishing, work
from lvm_lab.text.ingestion.record import read_records
from lvm_lab.text.ingestion.shard import Shard


class Killed(BaseException):
    """The process dies here."""


def test_a_store_is_its_documents_in_order_with_texts_vectors_and_contract(tmp_path: Path) -> None:
    store = made(tmp_path, "threads=2")
    documents = list(Stories().documents())
    assert store.documents.id == [document.id for document in documents]
    assert store.documents.title == [document.title for document in documents]
    assert store.documents.length.tolist() == [len(document.paragraphs) for document in documents]
    assert store.texts() == [text for document in documents for text in document.paragraphs]
    np.testing.assert_allclose(store.vectors_ND[:], Letters().encode(store.texts()), rtol=1e-3)
    assert store.vectors_ND.dtype == np.float16
    assert (store.contract.encoder, store.contract.pooling, store.contract.normalised) == ("letters", "sum", False)
    np.testing.assert_allclose([*store.contract.probes.values()], Letters().encode(PROBES), rtol=1e-5)
    assert [*read_manifest(tmp_path / "store").origins] == [
        {"source": "stories", "licence": "CC0", "origin": "https://example.org"}
    ]
    assert [part.threads for part in read_manifest(tmp_path / "store").parts] == [2]
    assert not staging(tmp_path).exists()


def test_the_block_changes_nothing_of_a_store(tmp_path: Path) -> None:
    """What becomes of a text does not hang on the others."""
    made(tmp_path, "block=20")
    made(tmp_path, "block=1", out="other")
    made(tmp_path, "block=5000", out="third")
    assert content(tmp_path / "store") == content(tmp_path / "other") == content(tmp_path / "third")


def test_what_a_chunker_measures_is_kept(tmp_path: Path) -> None:
    store = made(tmp_path, "chunker.encodes=true")
    table = pq.read_table(store.parts[0] / "chunks.parquet")
    assert table.column_names == ["text", "coherence"]
    coherence_N = table["coherence"].to_numpy()
    assert np.isfinite(coherence_N).all()
    first = store.documents.length[0]
    assert len(set(coherence_N[:first].tolist())) == 1
    assert len(set(coherence_N.tolist())) == len(store.documents)


def test_the_report_counts_times_and_checks(tmp_path: Path) -> None:
    outcome = give(tmp_path, "out=store", "encoder.limit_words=6")
    store = open_store(tmp_path / "store")
    (record,) = read_records(tmp_path / "store")
    texts = store.texts() or []
    words = [len(text.split()) for text in texts]
    assert (record["documents"], record["chunks"], record["tokens"]) == (12, len(texts), sum(words))
    assert record["cut_chunks"] == sum(count > 6 for count in words) > 0
    assert record["left_out"] == {"without text": 2}
    assert record["sources"] == {"stories": {"documents": 12, "chunks": len(texts)}}
    assert list(record["stages"]) == ["reading", "chunking", "encoding", "writing"]
    assert all(stage["seconds"] > 0 and stage["p95"] >= stage["median"] > 0 for stage in record["stages"].values())
    assert record["seconds"] == pytest.approx(sum(stage["seconds"] for stage in record["stages"].values()))
    assert record["seconds"] == pytest.approx(12 * sum(stage["per_document"] for stage in record["stages"].values()))
    assert record["settings"]["threads"] >= 1
    check = record["checks"]["stories"]
    assert check["gate"]["failed"]
    assert check["gate"]["arrow"]["verdict"] == "undecided"
    assert (check["compared_chunks"], check["repeated_chunks"]) == (len(texts), 0)
    assert "2 without text" in outcome.out
    assert f"{record['cut_share']:.1%} of the chunks are longer than the encoder's 6 tokens" in outcome.out


def test_the_report_is_no_part_of_the_stores_content(tmp_path: Path) -> None:
    before = made(tmp_path)
    (tmp_path / "store" / "ingest.json").unlink()
    assert open_store(tmp_path / "store", verify=True).content == before.content


def test_checks_may_be_left_out_and_made_later(tmp_path: Path) -> None:
    made(tmp_path)
    before = content(tmp_path / "store")
    assert read_records(tmp_path / "store")[0]["checks"] is None
    assert "was finished already" in give(tmp_path, "out=store").out
    assert read_records(tmp_path / "store")[0]["checks"]["stories"]["gate"]
    assert content(tmp_path / "store") == before


def test_a_source_with_copies_is_seen(tmp_path: Path) -> None:
    """The documents of the second part are those of the first, by other names."""
    made(tmp_path, "reader.count=6")
    made(tmp_path, "reader.count=12", "reader.source=copies", "append=true", "checks=true")
    checks = read_records(tmp_path / "store")[-1]["checks"]
    assert (checks["stories"]["near_duplicates"], checks["copies"]["near_duplicates"]) == (6, 6)
    assert checks["stories"]["repeated_share"] == 1
    assert 0 < checks["copies"]["repeated_share"] < 1


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    """A source's name is the user's, and square brackets are colours to the terminal's library."""
    outcome = give(tmp_path, "out='store[bold]'", "reader.source='[/wiki]'", "encoder.limit_words=6")
    assert (outcome.code, outcome.err) == (0, "")
    assert "the store is store[bold]" in outcome.out
    assert "[/wiki]: " in outcome.out
    assert "\u2502 [/wiki] " in outcome.out
    assert call(tmp_path, "store[bold]", main=verify.main).out.startswith("store[bold]: letters")


def test_finished_is_said_and_nothing_is_done_again(tmp_path: Path) -> None:
    give(tmp_path, "out=store")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").rglob("*")}
    again = give(tmp_path, "out=store")
    assert again.code == 0
    assert "store was finished already" in again.out
    assert "126" in again.out
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "store").rglob("*")} == before
    assert not staging(tmp_path).exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an uninterrupted ingestion leaves, whose chunker measures with the encoder."""
    folder = tmp_path_factory.mktemp("whole")
    made(folder, "chunker.encodes=true")
    return content(folder / "store")


def dying(what: Callable[..., Any], place: int) -> Callable[..., Any]:
    """The function, until it is called for the `place`-th time."""
    left = iter(range(place))

    def instead(*arguments: Any, **settings: Any) -> Any:
        if next(left, None) is None:
            raise Killed
        return what(*arguments, **settings)

    return instead


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(Shard, "write"), (Shard, "finish"), (publishing, "add_part"), (publishing, "write_record"), (work, "_encoded")],
    ids=lambda value: value if isinstance(value, str) else value.__name__.rpartition(".")[2],
)
def test_wherever_it_stops_the_same_command_ends_with_the_same_bytes(
    tmp_path: Path, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, place: int
) -> None:
    killed = False
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying(getattr(owner, name), place))
        try:
            made(tmp_path, "chunker.encodes=true")
        except Killed:
            killed = True
            assert not (tmp_path / "store").exists()
    assert killed or place, "it is called at least once"
    made(tmp_path, "chunker.encodes=true")
    assert content(tmp_path / "store") == whole
    assert not staging(tmp_path).exists()


def test_what_was_encoded_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "write", dying(Shard.write, 3))
        with pytest.raises(Killed):
            made(tmp_path)
    texts: list[str] = []
    encode = Letters.encode
    monkeypatch.setattr(Letters, "encode", lambda self, some: texts.extend(some) or encode(self, some))
    store = made(tmp_path)
    chunks = store.texts() or []
    assert [text for text in texts if text in set(chunks)] == chunks[-(len(texts) - len(PROBES) - 1) :]
    assert 60 <= len(chunks) - (len(texts) - len(PROBES) - 1) < len(chunks)


def test_other_settings_do_not_go_on_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "write", dying(Shard.write, 2))
        with pytest.raises(Killed):
            made(tmp_path)
    for other, words in {
        "reader.sentences=8": "reader.content 0 12 stories 9 there, 0 12 stories 8 now",
        "encoder.model=others": "encoder.contract.encoder letters there, others now",
        "dtype=float32": "dtype float16 there, float32 now",
        "block=30": "block 20 there, 30 now",
        "threads=7": "threads",
        "chunker.encodes=true": "chunker.encodes False there, True now",
    }.items():
        with pytest.raises(
            UserError, match=r"give its settings to go on, or restart=true to throw it away\.$"
        ) as refusal:
            made(tmp_path, other)
        assert words in str(refusal.value)
    made(tmp_path, "reader.sentences=8", "restart=true")
    made(tmp_path, "reader.sentences=8", out="other")
    assert content(tmp_path / "store") == content(tmp_path / "other")


def test_restart_goes_on_where_settings_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "write", dying(Shard.write, 2))
        with pytest.raises(Killed):
            made(tmp_path)
    kept = staging(tmp_path) / "shard-0" / "block-000001.npz"
    before = kept.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(Shard, "write", dying(Shard.write, 1))
        with pytest.raises(Killed):
            made(tmp_path, "restart=true")
    assert kept.stat().st_mtime_ns == before


def test_appending_adds_a_part_and_moves_no_document(tmp_path: Path) -> None:
    first = made(tmp_path)
    starts = zip(first.documents.names(), first.documents.start, strict=True)
    rows = {name: first.vectors_ND[int(start)].copy() for name, start in starts}
    both = made(tmp_path, "append=true", "reader.first=100")
    assert len(both.parts) == 2
    assert len(both.documents) == 24
    for name, start in zip(both.documents.names(), both.documents.start, strict=True):
        if name in rows:
            np.testing.assert_array_equal(both.vectors_ND[int(start)], rows[name])
    records = read_records(tmp_path / "store")
    assert [record["settings"]["reader"]["first"] for record in records] == [0, 100]
    made(tmp_path, "append=true", "reader.first=100")
    assert len(open_store(tmp_path / "store").parts) == 2


def test_what_was_appended_when_does_not_matter(tmp_path: Path) -> None:
    for out, order in {"store": (0, 100), "other": (100, 0)}.items():
        for first in order:
            made(tmp_path, "append=true", f"reader.first={first}", out=out)
    assert content(tmp_path / "store") == content(tmp_path / "other")


@pytest.mark.parametrize("name", ["add_part", "write_record"])
def test_an_append_that_stops_leaves_the_store_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = made(tmp_path).content
    with monkeypatch.context() as patch:
        patch.setattr(publishing, name, dying(getattr(publishing, name), 0))
        with pytest.raises(Killed):
            made(tmp_path, "append=true", "reader.first=100")
    left = open_store(tmp_path / "store", verify=True)
    assert (left.content == before) == (name == "add_part")
    assert len(made(tmp_path, "append=true", "reader.first=100").documents) == 24


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    told = give(tmp_path, "dry_run=true", "out=store", "reader.count=40")
    assert told.code == 0, told.err
    chunks = sum(len(document.paragraphs) for document in Stories(count=40).documents())
    assert f"40 documents, {chunks} chunks" in told.out
    assert re.search(r"about \d+ seconds .*nothing was written", told.out)
    assert list(tmp_path.iterdir()) == []
    # Without chunking everything, since this chunker encodes.
    about = give(tmp_path, "dry_run=true", "reader.count=40", "chunker.encodes=true")
    assert "40 documents, about " in about.out
    number = int(about.out.partition("about ")[2].partition(" chunks")[0])
    assert number == pytest.approx(chunks, rel=0.1)


@pytest.mark.slow
def test_a_store_trains(tmp_path: Path) -> None:
    made(tmp_path, "reader.count=60", "reader.sentences=14")
    trained = call(
        tmp_path,
        "data=npz",
        "data.path=store",
        "arch=gru",
        "arch.width=16",
        "trainer.max_epochs=1",
        "5cat=smoke",
        "device=cpu",
        "logger=none",
        "run.dir=run",
        "run.cache=cache",
    )
    assert trained.code == 0, trained.err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"
