"""Shards: so many jobs of a multirun, one part each, the same store whoever is first and however often it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from helpers.commands import ENVIRONMENT, PATIENCE, wait_until
from helpers.ingesting import content, give, job_settings, staging
from helpers.text_parts import Letters, Stories
from lvm_lab.data.store import open_store
from lvm_lab.jobs import ingestion
from lvm_lab.text.ingestion.record import read_records
from lvm_lab.text.ingestion.staging import Staging

KILLS = 20


def shard(folder: Path, number: int, *settings: str, out: str = "store") -> str:
    """How it stands when a shard's job has ended."""
    chosen = job_settings(folder, "shards=3", "threads=1", f"shard={number}", *settings, out=out)
    return ingestion.ingest(chosen, lambda documents, chunks: None)[0]


def test_one_part_a_shard_whoever_finishes_first(tmp_path: Path) -> None:
    for out, order in {"store": (0, 1, 2), "other": (2, 0, 1)}.items():
        assert [shard(tmp_path, number, out=out) for number in order] == ["waiting", "waiting", "done"]
    store = open_store(tmp_path / "store", verify=True)
    assert len(store.parts) == 3
    assert sorted(store.documents.id) == sorted(document.id for document in Stories().documents())
    assert content(tmp_path / "store") == content(tmp_path / "other")
    assert not staging(tmp_path).exists()
    assert shard(tmp_path, 1) == "already"


def test_a_document_is_in_one_part_and_no_store_is_there_before_the_last_shard(tmp_path: Path) -> None:
    assert [shard(tmp_path, number) for number in (0, 1)] == ["waiting", "waiting"]
    assert not (tmp_path / "store").exists()
    shard(tmp_path, 2)
    names = open_store(tmp_path / "store").documents.names()
    assert len(names) == len(set(names)) == 12


def test_more_shards_than_documents(tmp_path: Path) -> None:
    states = [shard(tmp_path, number, "reader.count=2") for number in range(3)]
    assert states == ["waiting", "waiting", "done"]
    assert len(open_store(tmp_path / "store").parts) == 2


def test_shards_may_end_in_one_moment(tmp_path: Path) -> None:
    job_settings(tmp_path)  # Hydra composes for one thread at a time
    with ThreadPoolExecutor(3) as pool:
        # What a thread dies of is raised here.
        states = list(pool.map(lambda number: shard(tmp_path, number), range(3)))
    assert set(states) <= {"waiting", "done", "already"}
    assert "done" in states
    assert [shard(tmp_path, number, out="other") for number in range(3)][-1] == "done"
    assert content(tmp_path / "store") == content(tmp_path / "other")


def test_who_waits_for_a_folder_that_is_dropped_begins_it_anew(tmp_path: Path) -> None:
    def hold() -> bool:
        with Staging(tmp_path / "store").held():
            return staging(tmp_path).is_dir()

    with ThreadPoolExecutor(1) as pool:
        with Staging(tmp_path / "store").held():
            waiting = pool.submit(hold)
            time.sleep(0.5)
            Staging(tmp_path / "store").drop()
        assert waiting.result()


@pytest.mark.slow
def test_a_multirun_makes_all_shards(tmp_path: Path) -> None:
    outcome = give(tmp_path, "-m", "shards=3", "out=store", "threads=1", "checks=true")
    assert outcome.code == 0, outcome.err
    assert "shard 0 of 3: done; the store is made when shard 1, 2 is" in outcome.out
    (record,) = read_records(tmp_path / "store")
    assert (record["documents"], record["settings"]["shards"]) == (12, 3)
    # Each shard's reader went by all of them.
    assert record["left_out"] == {"without text": 2}
    assert len(record["parts"]) == 3
    for number in range(3):
        shard(tmp_path, number, out="other")
    assert content(tmp_path / "store") == content(tmp_path / "other")
    again = give(tmp_path, "-m", "shards=3", "out=store", "threads=1")
    assert again.code == 0
    assert again.out.count("was finished already") == 3
    assert again.out.count("what was made, by source") == 1


def test_a_failed_shard_leaves_the_others_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Document 5 is of shard 2; the reader goes by it in the other shards without failing."""
    settings = ("-m", "shards=3", "out=store", "threads=1", "encoder.fault=undefined")
    outcome = give(tmp_path, *settings)
    assert outcome.code == 1
    assert "of 5.' holds NaN or infinity; drop or encode that chunk again (shard=2)." in outcome.sentence
    assert not (tmp_path / "store").exists()
    assert len([*staging(tmp_path).glob("shard-[01]/*")]) > 4
    encode = Letters.encode
    monkeypatch.setattr(Letters, "encode", lambda self, texts: encode(Letters(), texts))
    assert shard(tmp_path, 2, "encoder.fault=undefined") == "done"
    for number in range(3):
        shard(tmp_path, number, out="other")
    assert content(tmp_path / "store") == content(tmp_path / "other")


def test_a_dry_run_of_shards_is_one_job(tmp_path: Path) -> None:
    told = give(tmp_path, "-m", "shards=3", "dry_run=true")
    assert told.code == 0, told.err
    assert told.out.count("12 documents, ") == 1
    assert "with 3 jobs that run at once" in told.out


def test_another_number_of_shards_does_not_go_on(tmp_path: Path) -> None:
    shard(tmp_path, 0)
    refused = give(tmp_path, "-m", "shards=2", "out=store", "threads=1")
    assert refused.code == 1
    assert "shards 3 there, 2 now" in refused.err


@pytest.mark.slow
def test_twenty_kills_and_the_same_bytes(tmp_path: Path) -> None:
    """A real command with two shards in joblib's processes, killed at random moments with all of them; blocks are so
    small that kills fall into them and between."""
    texts = tmp_path / "texts.jsonl"
    _write(texts)
    command = ["reader=jsonl", f"reader.path={texts}", "chunker=paragraph", "encoder=hashing", "block=16", "threads=1"]
    command += ["shards=2", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "checks=false"]
    started: list[float] = []
    assert _give(tmp_path, [*command, "out=whole"], lambda: started.append(time.monotonic())) == 0
    usual = time.monotonic() - started[0]
    rng = random.Random(14)
    kills, ends = 0, time.monotonic() + PATIENCE
    while kills < KILLS:
        assert time.monotonic() < ends, f"only {kills} kills in time"
        # From before the first block on.
        wait = partial(time.sleep, rng.uniform(0, 0.3) * usual)
        if _give(tmp_path, [*command, "out=store"], wait, kill=True) == -signal.SIGKILL:
            kills += 1
        elif (tmp_path / "store").exists():
            # It was quicker than its death; the rest of the kills fall on another run of it.
            assert content(tmp_path / "store") == content(tmp_path / "whole")
            (tmp_path / "store").rename(tmp_path / f"finished-{len([*tmp_path.glob('finished-*')])}")
    assert _give(tmp_path, [*command, "out=store"], lambda: None) == 0
    assert content(tmp_path / "store") == content(tmp_path / "whole")
    assert not staging(tmp_path).exists()
    assert len(open_store(tmp_path / "store", verify=True).parts) == 2


def _write(file: Path) -> None:
    lines = [
        json.dumps({"id": document.id, "title": document.title, "paragraphs": document.paragraphs})
        for document in Stories(count=400).documents()
    ]
    file.write_text("\n".join(lines))


def _touched(folder: Path) -> float:
    """When the folder of an ingestion or one in it was written to last; 0 where there is none."""
    try:
        return max(place.stat().st_mtime for place in (folder, *folder.iterdir()))
    except OSError:
        return 0.0


def _give(folder: Path, arguments: list[str], at_work: Callable[[], None], kill: bool = False) -> int:
    """The exit code of a command. at_work: called once its staging folder is there; kill: then, with its children."""
    out = arguments[-1].partition("=")[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "lvm_lab.ingest", *arguments],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        # A folder that an earlier process has left is there before this one is at work.
        begun = time.time()
        if wait_until(lambda: _touched(staging(folder, out)) > begun, process):
            at_work()
            if kill:
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait(PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
