"""Processes of an ingestion that meet: a process is stopped at a point, and another one goes by it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from helpers.ingesting import content, is_held, job_settings, made, staging
from lvm_lab.errors import UserError
from lvm_lab.jobs import ingestion
from lvm_lab.text.ingestion import record
from lvm_lab.text.ingestion.shard import Done
from lvm_lab.text.ingestion.staging import AtWork, Staging

SETTINGS = {"reader": {"name": "stories"}}
DONE = Done(0, {}, [], 0.0, 0.0)
Elsewhere = Callable[[Callable[[], Any]], Any]


class Killed(BaseException):
    """A process ends here."""


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Runs a function in a thread, which takes and waits for locks as another process does."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function: pool.submit(function).result()


def ingest(folder: Path, *settings: str) -> str:
    return ingestion.ingest(job_settings(folder, *settings), lambda documents, chunks: None)[0]


def job(folder: Path, number: int) -> str:
    """One of two shards."""
    return ingest(folder, "shards=2", "threads=1", f"shard={number}")


def first(monkeypatch: pytest.MonkeyPatch, place: object, name: str, body: Callable[[], Any]) -> None:
    """Run `body` before the next call of a function, and not again."""
    function, calls = getattr(place, name), []

    def hooked(*arguments: Any, **named: Any) -> Any:
        if not calls:
            calls.append(arguments)
            body()
        return function(*arguments, **named)

    monkeypatch.setattr(place, name, hooked)


def test_who_begins_while_a_folder_is_dropped_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    """Its lock's file is gone, so that another process makes one of its own."""
    place = Staging(tmp_path / "store")
    for number in range(2):
        with place.working(number, SETTINGS, restart=False) as shard:
            shard.finish(DONE)
    begun: list[str] = []
    unlink, scandir = os.unlink, os.scandir

    def begin() -> None:
        with place.working(1, SETTINGS, restart=False) as shard:
            assert shard.done() is None
            shard.finish(DONE)

    def unlinking(path: Any, **named: Any) -> None:
        unlink(path, **named)
        if Path(path).name == "lock" and not begun:
            begun.append("begun")
            elsewhere(begin)

    # In no folder does it hang on chance which file goes first.
    monkeypatch.setattr(
        os, "scandir", lambda path: contextlib.nullcontext(sorted(scandir(path), key=lambda item: item.name))
    )
    monkeypatch.setattr(os, "unlink", unlinking)
    with place.held():
        place.drop()
    assert begun
    assert place.shard(1).done() == DONE


def test_an_ingestion_goes_on_wherever_a_drop_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {name: getattr(os, name) for name in ("unlink", "rmdir")}
    place, kills, alive = Staging(tmp_path / "store"), 0, False

    def dying(name: str, path: Any, named: dict[str, Any]) -> None:
        if not left:
            raise Killed
        left.pop()
        steps[name](path, **named)

    while not alive:
        left = [*range(kills)]
        with place.working(0, SETTINGS, restart=False) as shard:
            (shard.folder / "block-000000.npz").touch()
            shard.finish(DONE)
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            for name in steps:
                patch.setattr(os, name, lambda path, name=name, **named: dying(name, path, named))
            place.drop_if_of(SETTINGS)
            alive = True
        kills += 1
        # Blocks of which some are gone are nobody's to go on from.
        with place.working(0, SETTINGS, restart=False) as shard:
            kept = (shard.folder / "block-000000.npz").exists()
            assert kept == (shard.done() is not None) == (kills == 1)
        place.drop_if_of(SETTINGS)
        assert not place.folder.exists()
    assert kills > 4


def test_nothing_is_dropped_while_a_shard_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    """A resumed process has taken a shard that was done already, and the last other one publishes."""
    assert job(tmp_path, 1) == "waiting"

    def finish() -> None:
        assert elsewhere(lambda: job(tmp_path, 0)) == "done"
        assert is_held(staging(tmp_path) / "shard-1.lock")
        # Nor may another ingestion begin, which this one would drop at its end.
        with pytest.raises(AtWork), Staging(tmp_path / "store").working(0, SETTINGS, restart=False):
            pass

    first(monkeypatch, ingestion, "work", finish)
    assert job(tmp_path, 1) == "done"
    assert not staging(tmp_path).exists()


def test_who_let_go_of_a_shard_drops_what_was_published_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere
) -> None:
    """It found the other shard missing, and was slow to let go of its own."""
    shard_at = Staging.shard

    def late(place: Staging, number: int) -> Any:
        shard = shard_at(place, number)
        if number != 0 or not is_held(place.folder / "shard-1.lock"):
            return shard
        monkeypatch.setattr(Staging, "shard", shard_at)
        missing = shard_at(place, 12)
        publishing.append(pool.submit(job, tmp_path, 0))
        return missing

    publishing: list[Any] = []
    held = Staging.held

    @contextlib.contextmanager
    def slow(place: Staging) -> Iterator[None]:
        with held(place):
            yield
        if publishing:
            # The folder is free, and the shard is not.
            monkeypatch.setattr(Staging, "held", held)
            assert publishing.pop().result() == "done"
            assert is_held(place.folder / "shard-1.lock")

    monkeypatch.setattr(Staging, "held", slow)
    monkeypatch.setattr(Staging, "shard", late)
    with ThreadPoolExecutor(1) as pool:
        assert job(tmp_path, 1) == "done"
    assert not staging(tmp_path).exists()


@pytest.mark.parametrize("settings", [(), ("append=true", "reader.source=more")])
def test_what_another_process_has_finished_meanwhile_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    """A store is there already, or has these documents already: it is what the command was to make."""
    if settings:
        ingest(tmp_path)
    first(monkeypatch, ingestion, "_present", lambda: ingest(tmp_path, *settings))
    assert ingest(tmp_path, *settings) == "done"
    assert not staging(tmp_path).exists()


def test_what_came_after_the_end_of_a_command_is_no_obstacle_to_it_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(tmp_path)
    settings = ("append=true", "reader.source=more")

    def finish_and_begin_another() -> None:
        ingest(tmp_path, *settings)
        with pytest.raises(UserError):
            ingest(tmp_path, "append=true", "reader.source=third", "reader.fault=refuses", "reader.at=11")
        before.update(content(staging(tmp_path)))

    before: dict[str, str] = {}
    first(monkeypatch, ingestion, "_check_first_document", finish_and_begin_another)
    assert ingest(tmp_path, *settings) == "done"
    assert before
    assert content(staging(tmp_path)) == before


def test_a_shard_whose_folder_goes_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: True)
    assert Staging(tmp_path / "store").shard(0).done() is None


@pytest.mark.parametrize("name", ["mkdir", "scandir", "listdir"])
def test_a_folder_may_go_at_any_moment_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is there when it is looked for, and gone before the next look."""
    place = Staging(tmp_path / "store")
    place.folder.mkdir()
    function = getattr(os, name)

    def gone(path: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return function(path, *arguments, **named)
        finally:
            if Path(path) == place.folder and place.folder.is_dir():
                monkeypatch.setattr(os, name, function)
                place.folder.rmdir()
                if name != "mkdir":
                    raise FileNotFoundError(str(path))

    monkeypatch.setattr(os, name, gone)
    with place.held():
        assert is_held(place.folder / "lock")


def test_no_report_of_another_ingestion_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One examines the store that it has made, while another one appends to it."""
    made(tmp_path)
    store, held = tmp_path / "store", []
    first(monkeypatch, record, "read_records", lambda: held.append(is_held(store / ".lock")))
    record.write_record(store, {"settings": SETTINGS})
    assert held == [True]
    assert len(record.read_records(store)) == 2
