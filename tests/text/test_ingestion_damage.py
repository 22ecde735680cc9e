"""What can go wrong with an ingestion: one sentence with the way out, exit code 2, no half store."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from helpers.commands import call
from helpers.ingesting import content, give, is_held, job_settings, made, staging
from helpers.text_parts import Letters, Stories
from lvm_lab import files, ingest
from lvm_lab.data import part_files
from lvm_lab.errors import UserError
from lvm_lab.jobs import ingestion
from lvm_lab.text.ingestion.record import read_records
from lvm_lab.text.ingestion.staging import Staging

# What is typed -> words of the sentence.
REFUSED = {
    "out=null": "an ingestion needs a place for its store; add out=FOLDER.",
    "out=..": "out=.. does not fit; name a folder",
    "out=s3://bucket/store": "out=s3://bucket/store is an address; make the store in a folder here, and copy it there.",
    "out=file.txt": "out=file.txt is a file where a store's folder is needed; name another one.",
    "out=file.txt/store": "file.txt is a file, and no folder can be made in it; name another out.",
    "out=/proc/new": "name an out in a folder of yours.",
    "out=full": "out=full is no store and not empty; name another folder.",
    "out=there reader.count=13": "out=there is a store already; add to it with append=true, or name another folder.",
    "out=there/inner": "lies inside the store",
    "out=there/deep/inner": "lies inside the store",
    "out=nowhere": "out=nowhere is a link to nothing; name another folder.",
    "reader=nope": "reader=nope does not exist; choose one of",
    "chunker=nope": "chunker=nope does not exist; choose one of",
    "encoder=nope": "encoder=nope does not exist; choose one of",
    "reader=null": "reader=null names no option",
    "~reader": "reader is taken away, and an ingestion needs it; leave ~reader out.",
    "reader=stdlib reader.limt=3": "reader.limt does not exist (did you mean limit?)",
    "reader.count=many": "reader.count='many' does not fit; give it a whole number.",
    "chunker.encodes=perhaps": "chunker.encodes='perhaps' does not fit; give it true or false.",
    "blok=3": "blok does not exist (did you mean block?)",
    "block=0": "block=0 does not fit; set 1 or more chunks.",
    "block=few": "block='few' does not fit; give it a whole number.",
    "threads=0": "threads=0 does not fit; set 1 to 1024, or null.",
    "threads=100000": "threads=100000 does not fit; set 1 to 1024, or null.",
    "encoder=hashing encoder.dim=1000000000000": "encoder.dim=1000000000000 is more than any model reads; set 65536 or",
    "dtype=int8": "dtype='int8' does not fit; give it one of float16, float32.",
    "shards=0": "shards=0 does not fit; set 1 to",
    "shards=2": "shards=2 are as many jobs; add -m to run them all.",
    "shards=2 shard=2": "shard=2 does not exist; with shards=2 choose 0 to 1.",
    "shard=1": "shard=1 does not exist",
    "shards=2 -m reader.count=3,4": "reader.count=3,4 would be several stores",
    "-m": "one ingestion is one job; add shards=8 for so many, or leave -m out.",
    "-m shards=1": "one ingestion is one job",
    "-m shards=0": "shards=0 does not fit",
    "reader.count=3,4": "names several values",
    "nothing": "'nothing' is no setting",
    "local=nope": "local=nope does not exist",
    "reader.count=0": "the reader gives no document (2 without text); bring texts.",
    "reader.fault=raises": "the reader failed at document 5 (KeyError: 'no such page'); mend it",
    "reader.fault=raises reader.at=0": "the reader failed at document 0",
    "reader.fault=refuses": "stories.txt, line 5 is no story; mend it.",
    "reader.fault=unreachable": "Connection refused; mend that and give the same command again.",
    "reader.fault=twice": "document 'd0' of source 'stories' comes twice; give each document",
    "chunker.fault=raises": "the chunker failed between document 'd0'",
    "chunker.fault=nothing": "no document has a chunk (2 without text, 12 without a chunk); bring other texts",
    "chunker.fault=fewer": "the chunker gave 0 results for",
    "chunker.fault=lengths": "the chunker gave lengths (1,) for 9 chunks in document 'd0'",
    "chunker.fault=blank": "the chunker gave a chunk without text in document 'd0'",
    "encoder.fault=missing": "is not installed; pip install lvm_lab[text] brings it.",
    "encoder.fault=raises": "the encoder failed at the text",
    "encoder.fault=dims": "and a contract of 32 dims; mend it, or choose another encoder.",
    "encoder.fault=rows": "the encoder gave vectors of shape",
    "encoder.fault=undefined": "of 5.' holds NaN or infinity; drop or encode that chunk again.",
    "encoder.fault=zero": "of 5.' is all zeros; drop or encode that chunk again.",
    "encoder.fault=huge": "of 5.' does not fit into float16, which holds 6e-08 to 65504 (its largest value is 1e+06",
    "out=there append=true encoder.model=others": "out=there is of another encoder (encoder letters against others",
    "out=there append=true reader.first=20 dtype=float32": "out=there has its vectors in float16; append with dtype="
    "float16, or name another folder.",
    "out=there append=true reader.count=13": "document 'd0' of source 'stories' is in there already; leave it out",
    "out=damaged append=true": "column 2 (char 1)); name a store's folder, or make the store again",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("there")
    made(folder, out="there")
    return folder / "there"


@pytest.fixture
def home(tmp_path: Path, store: Path) -> Path:
    """A folder with a store, a damaged one, and what is none."""
    (tmp_path / "there").symlink_to(store)
    (tmp_path / "file.txt").write_text("a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("somebody's")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    return tmp_path


@pytest.mark.parametrize("typed", REFUSED)
def test_a_mistake_is_one_sentence_and_leaves_no_half_store(home: Path, store: Path, typed: str) -> None:
    before, names = content(store), sorted(file.name for file in home.iterdir())
    words = typed.split()
    outcome = give(home, *([] if any(word.startswith("out=") for word in words) else ["out=new"]), *words)
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert REFUSED[typed] in outcome.sentence
    assert outcome.sentence.endswith(".")
    assert content(store) == before
    kept = {".new.ingest", "multirun"}
    assert sorted({file.name for file in home.iterdir()} - kept) == names


@pytest.mark.parametrize("settings", [("shards=1",), ("shards=2", "-m")], ids=["one job", "two shards"])
def test_texts_without_a_chunk_stand_in_the_way_of_no_other_chunker(tmp_path: Path, settings: tuple[str, ...]) -> None:
    """The sentence says to choose another one, which blocks that are left would refuse as other settings."""
    refused = give(tmp_path, "out=new", "chunker.fault=nothing", "checks=false", *settings)
    assert "bring other texts, or choose another chunker" in refused.err
    assert not (tmp_path / ".new.ingest").exists()
    assert give(tmp_path, "out=new", "checks=false", *settings).code == 0


def test_an_outside_part_is_told_by_what_it_said(home: Path) -> None:
    """Also where its words are many lines."""
    told = give(home, "out=new", "encoder.fault=raises").sentence
    assert "(RuntimeError: CUDA error: device-side assert triggered); mend it and give the same command again" in told


def test_too_little_memory_is_told_with_what_takes_less(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def large(*_: object) -> None:
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr(Letters, "encode", large)
    told = give(home, "out=new").sentence
    assert "no memory left for that (Unable to allocate 8.00 TiB); set a smaller block, fewer threads or" in told
    assert "arch" not in told


def test_a_name_with_control_characters_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the reader: the id or source 'a\\tb' has control characters; give it a name"):
        made(tmp_path, 'reader.source="a\\tb"')
    assert not staging(tmp_path).exists()


def test_the_last_line_can_be_typed(tmp_path: Path) -> None:
    """Blanks and brackets in a name are the shell's and the terminal's too."""
    shown = give(
        tmp_path, "out=my [store] of a name that is longer than any line of a terminal is wide", "reader.count=1"
    )
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[-1].endswith(
        ": lvm-lab train data=npz 'data.path=my [store] of a name that is longer than any line of a terminal is wide'"
    )
    assert "1 document, 9 chunks, " in shown.out


def test_after_a_failure_the_mended_command_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was out of reach for a while."""
    assert give(home, "out=new", "reader.fault=unreachable", "reader.at=11").code == 2
    blocks = sorted(staging(home, "new").glob("shard-0/*.npz"))
    assert len(blocks) > 2
    before = {file: file.stat().st_mtime_ns for file in blocks}
    with monkeypatch.context() as patch:
        patch.setattr(Stories, "reachable", True)
        patch.setattr(ingestion, "publish", full_disk)
        assert give(home, "out=new", "reader.fault=unreachable", "reader.at=11").code == 2
        assert {file: file.stat().st_mtime_ns for file in blocks} == before
        patch.undo()
        patch.setattr(Stories, "reachable", True)
        made(home, "reader.fault=unreachable", "reader.at=11", out="new")
    assert content(home / "new") == content(made(home, out="other").path)


def full_disk(*arguments: Any, **settings: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "new")


class Torn:
    """A file whose disk fills up after so many writes."""

    def __init__(self, file: Any, left: int) -> None:
        self.file, self.left = file, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left < 0:
            self.file.write(bytes(data)[: len(data) // 2])
            full_disk()
        return int(self.file.write(data))


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_full_disk_while_blocks_are_written(home: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    opened = open
    count = iter(range(100))

    def torn(file: Any, mode: str = "r", **others: Any) -> Any:
        handle = opened(file, mode, **others)
        return Torn(handle, 0 if next(count) >= left else 9) if "block-" in str(file) else handle

    with monkeypatch.context() as patch:
        patch.setattr(files, "open", torn, raising=False)
        outcome = give(home, "out=new")
    assert outcome.code == 2
    assert "No space left on device; mend that and give the same command again." in outcome.sentence
    assert not (home / "new").exists()
    assert content(made(home, out="new").path) == content(made(home, out="other").path)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(part_files.PartWriter, "append"), (part_files.PartWriter, "close"), (files.os, "replace")],
    ids=["append", "close", "replace"],
)
def test_a_full_disk_anywhere_else(home: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full_disk)
        outcome = give(home, "out=new")
    assert outcome.code == 2
    assert "No space left on device" in outcome.sentence
    assert not (home / "new").exists()
    assert content(made(home, out="new").path) == content(made(home, out="other").path)


SPOILT: dict[str, Callable[[Path], Any]] = {
    "torn block": lambda folder: (folder / "shard-0/block-000001.npz").write_bytes(b"PK"),
    "empty block": lambda folder: (folder / "shard-0/block-000001.npz").write_bytes(b""),
    "block of something else": lambda folder: np.savez(folder / "shard-0/block-000001.npz", x=np.zeros(3)),
}


@pytest.mark.parametrize("name", SPOILT)
def test_damaged_blocks_are_told_and_not_published(home: Path, name: str) -> None:
    with pytest.raises(UserError):
        made(home, "reader.fault=refuses", "reader.at=11", out="new")
    SPOILT[name](staging(home, "new"))
    for block in staging(home, "new").glob("shard-0/block-00000[2-9].npz"):
        block.unlink()
    outcome = give(home, "out=new", "reader.fault=refuses", "reader.at=11")
    assert outcome.code == 2
    assert re.search(r"block-000001.npz is damaged \(.*\); delete the folder .*\.new\.ingest", outcome.sentence)
    assert not (home / "new").exists()


@pytest.mark.parametrize("what", ["file", "link", "somebody's folder"])
def test_a_staging_folder_that_is_not_the_labs_is_left_alone(home: Path, what: str) -> None:
    place = staging(home, "new")
    if what == "file":
        place.write_text("mine")
    elif what == "link":
        place.symlink_to(home / "full")
    else:
        place.mkdir()
        (place / "letter.txt").write_text("mine")
    outcome = give(home, "out=new", "restart=true")
    assert outcome.code == 2
    assert "move it away, or name another out." in outcome.sentence
    assert place.exists()
    assert (home / "full" / "letter.txt").read_text() == "somebody's"
    assert what != "somebody's folder" or (place / "letter.txt").read_text() == "mine"


def test_a_second_process_on_one_store_is_told(home: Path) -> None:
    with pytest.raises(UserError):
        made(home, "reader.fault=refuses", "reader.at=11", out="new")
    with FileLock(staging(home, "new") / "shard-0.lock"):
        outcome = give(home, "out=new", "reader.fault=refuses", "reader.at=11")
    assert outcome.code == 2
    assert "another process is making new (shard 0); wait for it, or name another out." in outcome.sentence


def test_restart_takes_nothing_from_a_process_at_work(home: Path) -> None:
    with pytest.raises(UserError):
        made(home, "reader.fault=refuses", "reader.at=11", out="new")
    before = content(staging(home, "new"))
    with FileLock(staging(home, "new") / "shard-0.lock"):
        outcome = give(home, "out=new", "reader.sentences=8", "restart=true")
    assert outcome.code == 2
    assert "another process is making new (shard 0)" in outcome.sentence
    assert content(staging(home, "new")) == before


def test_a_finished_command_leaves_what_another_has_begun(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(UserError):
        made(tmp_path, "append=true", "reader.source=more", "reader.fault=refuses", "reader.at=11")
    before = content(staging(tmp_path))
    made(tmp_path)
    assert content(staging(tmp_path)) == before


def test_a_finished_command_is_finished_while_another_is_at_work(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(UserError):
        made(tmp_path, "append=true", "reader.source=more", "reader.fault=refuses", "reader.at=11")
    before = content(staging(tmp_path))
    with FileLock(staging(tmp_path) / "shard-0.lock"):
        made(tmp_path)
    assert content(staging(tmp_path)) == before


def test_what_was_dropped_by_half_is_nobodys(tmp_path: Path) -> None:
    """A process may die while it takes away what it no longer needs."""
    with pytest.raises(UserError):
        made(tmp_path, "reader.fault=refuses", "reader.at=11")
    (staging(tmp_path) / "settings.json").unlink()
    made(tmp_path, "reader.sentences=8")
    made(tmp_path, "reader.sentences=8", out="other")
    assert content(tmp_path / "store") == content(tmp_path / "other")
    (staging(tmp_path) / "shard-0").mkdir(parents=True)
    made(tmp_path, "reader.sentences=8")
    assert not staging(tmp_path).exists()


def test_what_another_process_has_finished_meanwhile_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = job_settings(tmp_path)
    present = ingestion._present

    def slow(*arguments: Any) -> frozenset[str]:
        with monkeypatch.context() as patch:
            patch.setattr(ingestion, "_present", present)
            ingestion.ingest(settings, lambda documents, chunks: None)
        return present(replace(settings, append=True), *arguments[1:])

    monkeypatch.setattr(ingestion, "_present", slow)
    monkeypatch.setattr(ingestion, "_check_first_document", lambda *_: None)
    state, _ = ingestion.ingest(settings, lambda documents, chunks: pytest.fail("it was made again"))
    assert state == "done"
    assert not staging(tmp_path).exists()


def test_a_shard_is_taken_before_another_process_may_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is let go after the store is made."""
    locked, publish = Staging._locked, ingestion.publish

    def taking(place: Staging, file: Path) -> Any:
        assert is_held(place.folder / "lock")
        return locked(place, file)

    def publishing(place: Staging, *arguments: Any) -> dict[str, Any]:
        assert is_held(place.folder / "shard-0.lock")
        return publish(place, *arguments)

    monkeypatch.setattr(Staging, "_locked", taking)
    monkeypatch.setattr(ingestion, "publish", publishing)
    made(tmp_path)


def test_other_versions_do_not_go_on_with_what_is_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError):
        made(home, "reader.fault=refuses", "reader.at=11", out="new")
    monkeypatch.setattr("lvm_lab.text.ingestion.staging.__version__", "9.9")
    words = (
        r"with other versions has made \(versions\.lvm_lab .* there, 9\.9 now\); install that one to go on, or restart"
    )
    with pytest.raises(UserError, match=words):
        made(home, "reader.fault=refuses", "reader.at=11", out="new")


def test_a_link_to_an_empty_folder_becomes_the_store(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "elsewhere")
    made(tmp_path)
    assert (tmp_path / "store").is_symlink()
    assert (tmp_path / "elsewhere" / "manifest.json").exists()


def test_a_link_into_a_store_is_refused(home: Path) -> None:
    (home / "there" / "inner").mkdir()
    (home / "inward").symlink_to(home / "there" / "inner")
    outcome = give(home, "out=inward")
    assert outcome.code == 2
    assert "out=inward lies inside the store" in outcome.sentence
    assert [*(home / "there" / "inner").iterdir()] == []


def test_a_report_holds_no_path_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    made(tmp_path, f"encoder.model={tmp_path / 'model'}")
    (record,) = read_records(tmp_path / "store")
    assert "model" not in record["settings"]["encoder"]
    made(tmp_path, "encoder.model=letters", out="named")
    (record,) = read_records(tmp_path / "named")
    assert record["settings"]["encoder"]["model"] == "letters"


def test_a_damaged_report_is_told(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "store" / "ingest.json").write_text("{}")
    outcome = give(tmp_path, "out=store")
    assert outcome.code == 2
    assert "ingest.json is damaged" in outcome.sentence
    assert "delete it" in outcome.sentence


def test_help_and_config_answer_without_torch_and_make_nothing(tmp_path: Path) -> None:
    for flags in (["--help"], ["--cfg", "job"], ["--version"]):
        shown = call(tmp_path, *flags, "out=new", main=ingest.main)
        assert shown.code == 0, shown.err
        assert shown.out
    assert list(tmp_path.iterdir()) == []
